"""How a mistake is refused."""

import pytest

from ssdkd_jax.errors import UserError


def refusal(function, *arguments, **keywords):
    """The one line of the UserError that a call ends with."""
    with pytest.raises(UserError) as error:
        function(*arguments, **keywords)
    assert "\n" not in str(error.value)
    return str(error.value)
