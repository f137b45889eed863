"""Lines that are alike are read together, and nothing is taken for a digest that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.alikelines import alike_digests, pieces

ONE, TWO = bytes(range(32)), bytes(range(100, 132))


@given(st.lists(st.sampled_from(["", "a", "bc", "d" * 9]), max_size=30), st.integers(0, 12))
def test_pieces_are_whole_lines_that_are_counted_on(lines: list[str], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spoa.alikelines._AT_ONCE", at_once)
        found = [
            (number + at, line)
            for number, piece in pieces("\n".join(lines).encode())
            for at, line in enumerate(piece.decode().split("\n"))
        ]
    assert found == list(enumerate(lines[:-1] if lines[1:] and not lines[-1] else lines or [""], 1))


@pytest.mark.parametrize("between", ["", ":"])
def test_digits_in_one_form_are_digests_in_either_case(between: str) -> None:
    written = ONE.hex(*between), TWO.hex(*between).upper()
    assert alike_digests("\n".join(written).encode()) == (ONE, TWO)
    assert alike_digests(written[0].encode()) == (ONE,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ONE.hex() + "\n",
        ONE.hex() + "\n" + TWO.hex(":"),
        ONE.hex(":") + "\n" + TWO.hex(),
        ONE.hex(" ") + "\n" + TWO.hex(" "),
        ONE.hex() + "0\n" + TWO.hex()[1:],
        "g" + ONE.hex()[1:],
        ":" + ONE.hex()[1:],
        " " + ONE.hex()[1:],
        "\n" + ONE.hex()[1:],
        ONE.hex()[:32] + "\n" + ONE.hex()[32:63],
        ":" + ONE.hex(":")[1:],
        "\n" + ONE.hex(":")[1:],
        ONE.hex(":")[:5] + "\n" + ONE.hex(":")[6:],
        ONE.hex(":").replace(":", "-"),
        ONE[:20].hex() + "\n" + TWO[:20].hex(),
        "sha256:" + ONE.hex(),
        # As long as it should be, and with too few digits.
        "::" + ONE.hex()[2:],
        "::" + ONE.hex()[2:] + "\n" + TWO.hex(),
        ":" + ONE.hex()[1:] + "\n:" + TWO.hex()[1:],
        "::" + ONE.hex(":")[2:],
        "::" + ONE.hex(":")[2:] + "\n" + TWO.hex(":"),
    ],
)
def test_of_anything_else_nothing_is_taken(text: str) -> None:
    assert alike_digests(text.encode()) == ()
