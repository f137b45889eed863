from __future__ import annotations

import warnings

import pytest
from cryptography import x509

from spoa.revocation.parsing import parsing


@pytest.mark.parametrize("error", [x509.InvalidVersion("5 is none", 5), KeyError("x"), OverflowError("too far")])
def test_whatever_the_parser_raises_is_a_value_error_that_names_it(error: Exception) -> None:
    with pytest.raises(ValueError, match=type(error).__name__) as caught, parsing():
        raise error
    assert caught.value.__cause__ is error


def test_a_value_error_stays_what_it_is() -> None:
    error = ValueError("as it was")
    with pytest.raises(ValueError, match="as it was") as caught, parsing():
        raise error
    assert caught.value is error


def test_warnings_are_silenced_inside_and_not_behind() -> None:
    with parsing():
        warnings.warn("deprecated", stacklevel=1)
    with pytest.raises(UserWarning, match="deprecated"):
        warnings.warn("deprecated", stacklevel=1)
