"""What makes a state too large for a device: its largest array, and the fields of the config that decide it."""

import copy

import jax

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.networks import make_method, method_settings
from ssdkd_jax.methods import section_of
from ssdkd_jax.training.memory import gigabytes

# So many fields are advice, more are a riddle.
_AT_MOST = 3


def size_of(shapes) -> int:
    """Bytes of a pytree of arrays or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def advice(context, architecture, images, state, teacher) -> str:
    """Names the largest array of a method's state and the fields that make it smaller.

    A field decides an array if half its value makes the array smaller.

    Args:
      context: Context.
      architecture: the teacher's.
      images: ImageSpec.
      state: pytree of the shapes that `method.init` returns.
      teacher: pytree of the shapes that `method.init` is given.
    """
    path, largest = max(jax.tree_util.tree_leaves_with_path(state), key=lambda entry: size_of(entry[1]))
    found = []
    for field, value in _sizes(context.config, images).items():
        smaller = _size_with(context, architecture, images, teacher, path, field, value // 2)
        if smaller is not None and smaller < size_of(largest):
            found.append(f"--config.{field}=N")
    name = jax.tree_util.keystr(path).lstrip(".")
    fix = f"choose a smaller {' or '.join(found[:_AT_MOST])}"
    if name.startswith("student."):
        fix = "choose a smaller student with --config.student.name=NAME"
    return f"the largest part is {name} of {gigabytes(size_of(largest))}; {fix}"


def _sizes(config, images):
    """{field: value} of all whole numbers of which there can be less, the largest first."""
    section = section_of(config.method)
    fields = {"epochs": config.epochs, "image_size": min(images.shape[:2])}
    fields |= {f"generator.{name}": value for name, value in config.generator.items()}
    fields |= {f"{section}.{name}": value for name, value in method_settings(config, config.method).items()}
    whole = {name: value for name, value in fields.items() if type(value) is int and value > 1}
    return dict(sorted(whole.items(), key=lambda item: -item[1]))


def _size_with(context, architecture, images, teacher, path, field, value):
    """Bytes of an array of the state where one field has another value; None where that cannot be."""
    config = copy.deepcopy(context.config)
    if field == "image_size":
        images = images._replace(shape=(value, value, images.shape[-1]))
    else:
        config.update_from_flattened_dict({field: value})
    try:
        method = make_method(context._replace(config=config), architecture, images)
        state = jax.eval_shape(method.init, jax.random.key(0), teacher)
    except (UserError, ValueError):
        return None
    return size_of(dict(jax.tree_util.tree_leaves_with_path(state)).get(path, ()))
