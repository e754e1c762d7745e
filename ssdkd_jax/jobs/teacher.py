"""Finding the teacher: a saved network, a PyTorch file, or one trained from real images and kept."""

import contextlib
import re
import shutil
import time
from typing import NamedTuple

import jax
import numpy as np

from ssdkd_jax import data, interop, models
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import check_ours, digest_of, expand, file_sha256, read_object, try_lock
from ssdkd_jax.jobs.config_checks import check_teacher_path
from ssdkd_jax.jobs.image_spec import dataset_info, load_split, split_digest
from ssdkd_jax.jobs.kept_tensors import kept_tensors
from ssdkd_jax.jobs.networks import make_model, network_metadata
from ssdkd_jax.training import saved_network, supervised
from ssdkd_jax.training.checkpoints import Checkpoints
from ssdkd_jax.training.devices import AXIS
from ssdkd_jax.training.interruption import Interrupted
from ssdkd_jax.training.multiprocess import from_first
from ssdkd_jax.user_code import absolute, is_user_code


class Teacher(NamedTuple):
    """A trained network and what must be known to use it.

    architecture: name for `models.create_model`.
    variables: {"params", "batch_stats"}, NumPy arrays.
    metadata: as `saved_network.save_network` wrote it; empty for a PyTorch file.
    from_torch: whether it came from PyTorch, now or when the folder was made.
    recipe: by which the config has it trained; None of a teacher that is given.
    """

    architecture: str
    variables: dict
    metadata: dict
    from_torch: bool = False
    recipe: supervised.Recipe | None = None


# Field of a saved network's metadata: name of the PyTorch file that it was made from.
FROM_TORCH = "from_torch"


def load_teacher(path, architecture="", *, image_shape=None, flag="--config.teacher.name"):
    """Reads a teacher from a folder of ours or from a PyTorch file.

    Args:
      path: folder or file.
      architecture: its name; "" takes the folder's word, or infers it from the tensors of a PyTorch file.
      image_shape: as for `interop.from_torch_state_dict`.
      flag: what chooses the architecture on the command line, for messages.

    Raises:
      UserError: nothing there, damaged, or of another architecture.
    """
    check_teacher_path(path)
    path = expand(path)
    if path.is_dir():
        try:
            variables, metadata = saved_network.load_network(path)
        except saved_network.NoNetwork as error:
            raise UserError(f"{error}, or a PyTorch file (.pth, .pt, .th, .safetensors)") from error
        if architecture and architecture != metadata["architecture"]:
            raise UserError(
                f"{path} holds a {metadata['architecture']}, but the config says {architecture}; "
                f"use {flag}={metadata['architecture']}"
            )
        return Teacher(metadata["architecture"], variables, metadata, FROM_TORCH in metadata)
    state_dict = kept_tensors(path)
    if not architecture:
        state_dict = interop.without_common_prefix(state_dict)
        architecture = _only_one(interop.infer_architecture(state_dict), state_dict, path, flag)
    try:
        variables = interop.from_torch_state_dict(architecture, state_dict, image_shape)
    except interop.LayoutError as error:
        another = f"another {flag}=NAME, or give all weights of that network and no others"
        fix = f"{flag}={error.fits[0]}" if error.fits else another
        raise UserError(f"{path} is no {error}; choose {fix}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    classes, channels = interop.classes_and_channels(architecture, variables, image_shape)
    kind = "gray images" if channels == 1 else f"images of {channels} channels"
    print(f"{path}: {architecture} with {classes} classes, for {kind}", flush=True)
    return Teacher(architecture, variables, {}, from_torch=True)


def is_from_torch(path):
    """Whether the teacher at a path is a PyTorch file, or a folder made from one; False for "", which is no path."""
    if not path or not expand(path).is_dir():
        return bool(path)
    metadata = expand(path) / saved_network.METADATA
    return metadata.is_file() and FROM_TORCH in read_object(metadata, "save or train it again")


def _only_one(candidates, state_dict, path, flag):
    """The first of several names of one network; several networks, or none, are the user's to choose from."""
    if len({models.create_model(name) for name in candidates}) == 1:
        if len(candidates) > 1:
            print(f"{path} looks like a {candidates[0]} (also known as {', '.join(candidates[1:])})", flush=True)
        return candidates[0]
    if candidates:
        raise UserError(f"{path} fits several architectures: {', '.join(candidates)}; say which with {flag}=NAME")
    if interop.is_simkd(state_dict):
        raise UserError(
            f"{path} is a student with its teacher's classifier, as HiDFD trains it; say of which two networks: "
            f"{flag}=STUDENT_simkd_TEACHER"
        )
    closest = interop.describe_closest(state_dict)
    if closest:
        raise UserError(
            f"{path} fits no architecture that is built in; it {closest}; save all tensors of that network and "
            f"no others, or bring the definition as a Linen module: {flag}=path/to/file.py:make (docs/extending.md)"
        )
    raise UserError(
        f"{path} fits no architecture that is built in ({', '.join(models.model_names())}); bring its definition as a "
        f"Linen module: {flag}=path/to/file.py:make (docs/extending.md)"
    )


def recipe_of(config, epochs):
    """The config's recipe for training on real images, the teacher's and the baselines'."""
    return supervised.Recipe(
        epochs=epochs,
        batch_size=config.teacher.batch_size,
        learning_rate=config.teacher.learning_rate,
        schedule=config.teacher.schedule,
        nesterov=config.teacher.nesterov,
        weight_decay=config.teacher.weight_decay,
        crop_padding=config.crop_padding,
        flip=config.flip,
    )


def recipe_in_words(teacher, path):
    """How a Teacher came about, for the summary; `path` is the config's, where it is given."""
    recipe = teacher.recipe
    if recipe is None:
        return f"given: {path}"
    momentum = "Nesterov momentum" if recipe.nesterov else "momentum"
    schedule = "cosine" if recipe.schedule == "cosine" else "times 0.2 at 60, 75 and 90 % of the epochs"
    return (
        f"{recipe.epochs} epochs, batch {recipe.batch_size}, SGD {recipe.learning_rate:g} with {momentum}, "
        f"{schedule}, weight decay {recipe.weight_decay:g}"
    )


def train_teacher(context, images):
    """The config's teacher, trained from the real training set unless one is kept."""
    config = context.config
    training_sha256 = split_digest(config, "train")
    count = dataset_info(config).sizes["train"]
    recipe = recipe_of(config, config.teacher.epochs).fitting(count, len(context.devices))
    if recipe.batch_size < config.teacher.batch_size:
        print(f"teacher.batch_size is cut to {recipe.batch_size}, since there are {count} training images", flush=True)

    def train(unfinished):
        return supervised.train(
            make_model(context, config.teacher.name, len(images.class_names), bn_axis_name=AXIS),
            images.task,
            load_split(config, "train"),
            recipe,
            images.mean,
            images.std,
            seed=config.teacher.seed,
            devices=context.devices,
            clock=context.clock,
            title=f"teacher {config.teacher.name}",
            checkpoints=unfinished,
            interruption=context.interruption,
        )

    made_from = {
        "dataset": _without_place(config.dataset),
        "training_images": count,
        "training_sha256": training_sha256,
        "class_names": list(images.class_names),
        "image_shape": list(images.shape),
        "normalization": [list(images.mean), list(images.std)],
        "architecture": config.teacher.name,
        "architecture_sha256": file_digest(config.teacher.name),
        "recipe": recipe._asdict(),
        "seed": config.teacher.seed,
        "dtype": [config.dtype, config.param_dtype],
    }
    metadata = network_metadata(config.teacher.name, images)
    kept = kept_teacher(config.teacher.cache_dir, made_from, train, metadata, interruption=context.interruption)
    return kept._replace(recipe=recipe)


def _without_place(dataset):
    """A data set's name; of a folder, whose images have a digest of their own, however its path is written."""
    folder = data.folder_of(dataset)
    return f"{dataset.partition(':')[0]}:{folder.name}" if folder else dataset


def file_digest(name):
    """Digest of a user's own file, which can change under the same name; "" for the name of anything built in."""
    if not is_user_code(name):
        return ""
    path = absolute(name).rpartition(":")[0]
    return file_sha256(path)


def kept_teacher(folder, made_from, train, metadata, *, interruption=False):
    """A teacher from the folder of kept teachers, trained first if it is not there yet.

    Args:
      folder: of kept teachers.
      made_from: plain values of everything that decides its weights (data set, architecture, recipe, seed); the key.
      train: (Checkpoints) -> variables.
      metadata: for `save_network`, with "architecture".
      interruption: becomes true when this should stop.
    """
    digest = digest_of(made_from)[:12]
    name = "-".join(re.sub(r"[^\w.:]", "_", part) for part in (made_from["dataset"], metadata["architecture"]))
    kept = expand(folder) / f"{name}-{digest}"
    with contextlib.ExitStack() as held:
        found = from_first(lambda: _find_kept(kept, interruption, held))
        if found:
            return found
        unfinished = Checkpoints(kept.with_name(kept.name + ".training"))
        try:
            variables = train(unfinished)
        except Interrupted as stop:
            raise Interrupted(f"{stop}; its checkpoint is kept") from stop
        finally:
            unfinished.close()
        from_first(lambda: _keep(kept, variables, {**metadata, "made_from": made_from}))
    return Teacher(metadata["architecture"], variables, metadata)


def _find_kept(kept, interruption, held):
    """The Teacher that is kept, or None; `held`, an ExitStack, then keeps other runs from training it."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    held.enter_context(_wait_for_lock(kept.with_name(kept.name + ".lock"), interruption))
    if (kept / saved_network.METADATA).is_file():
        print(f"teacher: {kept}", flush=True)
        return _load_kept(kept)
    check_ours(kept, saved_network.OWN)
    return None


def _keep(kept, variables, metadata):
    saved_network.save_network(kept, variables, metadata)
    shutil.rmtree(kept.with_name(kept.name + ".training"), ignore_errors=True)


def _load_kept(folder):
    try:
        return load_teacher(folder)
    except UserError as error:
        raise UserError(
            f"{error}: move {folder} elsewhere and run the same command again, which trains it anew"
        ) from error


def _wait_for_lock(path, interruption):
    """The lock of a teacher that several runs may want to train at once: the others wait for the first."""
    lock = try_lock(path)
    if lock is None:
        print(f"another run is training this teacher; waiting for it ({path})", flush=True)
    while lock is None:
        if interruption:
            raise Interrupted("stopped while another run was training the teacher")
        time.sleep(0.2)
        lock = try_lock(path)
    return lock


def check_fits(teacher, num_classes, image_shape, path):
    """Raises UserError, naming the first tensor of another shape, unless the teacher fits these classes and images."""
    wanted = models.variable_shapes(teacher.architecture, num_classes, image_shape)
    found = dict(jax.tree_util.tree_leaves_with_path(dict(teacher.variables)))
    for keys, leaf in jax.tree_util.tree_leaves_with_path(wanted):
        shape = np.shape(found[keys]) if keys in found else "no tensor"
        if shape != leaf.shape:
            name = ".".join(key.key for key in keys[1:])
            raise UserError(
                f"{path}: {name} is {shape}, expected {leaf.shape} for {teacher.architecture} with {num_classes} "
                f"classes and {image_shape[-1]} channels; name the teacher's own data set with --config.dataset=NAME"
            )


def classes_of(teacher, image_shape):
    """Length of the teacher's logits."""
    return interop.classes_and_channels(teacher.architecture, teacher.variables, image_shape)[0]
