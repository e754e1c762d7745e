"""Reading a config's argument: `configs/cifar10.py:wrn40_2-wrn16_1,small`."""

from ssdkd_jax.errors import UserError, closest, did_you_mean
from ssdkd_jax.models import model_names


def parse(argument, default_pair, sizes=()):
    """Splits `teacher-student,size,...` into ((teacher, student), set of other words).

    Args:
      argument: what follows the colon after the config's name, or None.
      default_pair: (teacher, student) where the argument names none.
      sizes: the words that this config knows next to a pair.

    Raises:
      UserError: a word that is neither, one that is given twice, two pairs.
    """
    pairs, words = [], []
    for word in filter(None, (argument or "").split(",")):
        parts = tuple(word.split("-"))
        if word in sizes:
            words.append(word)
        elif len(parts) == 2 and all(part in model_names() for part in parts):
            pairs.append(parts)
        else:
            known = f" or one of: {', '.join(sizes)}" if sizes else ""
            raise UserError(
                f"unknown preset {word!r}; {_meant(word, sizes)}expected TEACHER-STUDENT such as "
                f"{'-'.join(default_pair)}{known}; networks are {', '.join(model_names())}"
            )
    if len(pairs) > 1 or len(set(words)) < len(words):
        raise UserError(f"the preset is {argument!r}, expected each word once, and one TEACHER-STUDENT at most")
    return (pairs or [default_pair])[0], set(words)


def _meant(word, sizes):
    """A question with the closest pair of networks, or preset; "" where nothing is close."""
    pair = [closest(part, model_names()) for part in word.split("-")]
    if len(pair) == 2 and all(pair):
        return f"did you mean {'-'.join(pair)!r}? "
    return did_you_mean(word, sizes)
