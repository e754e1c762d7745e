"""Reading a config's argument: `configs/cifar10.py:wrn40_2-wrn16_1,small`."""

from ssdkd_jax.errors import UserError
from ssdkd_jax.models import model_names


def parse(argument, default_pair, sizes=()):
    """Splits `teacher-student,size,...` into ((teacher, student), set of other words).

    Args:
      argument: what follows the colon after the config's name, or None.
      default_pair: (teacher, student) where the argument names none.
      sizes: the words that this config knows next to a pair.

    Raises:
      UserError: a word that is neither.
    """
    pair, words = default_pair, set()
    for word in filter(None, (argument or "").split(",")):
        parts = tuple(word.split("-"))
        if word in sizes:
            words.add(word)
        elif len(parts) == 2 and all(part in model_names() for part in parts):
            pair = parts
        else:
            known = f" or one of: {', '.join(sizes)}" if sizes else ""
            raise UserError(
                f"unknown preset {word!r}: expected TEACHER-STUDENT such as {'-'.join(default_pair)}{known}; "
                f"networks are {', '.join(model_names())}"
            )
    return pair, words
