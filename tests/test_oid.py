from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.identity import read_elements
from spoa.oid import dotted
from tests.der import oid


def content(identifier: str) -> bytes:
    ((_, _, inner),) = read_elements(oid(identifier))
    return inner


@pytest.mark.parametrize("identifier", ["2.5.29.20", "1.2.840.113549.1.1.11", "0.39", "1.0", "2.47.1", "2.16.840.1"])
def test_what_der_writes_is_read_as_people_write_it(identifier: str) -> None:
    assert identifier == dotted(content(identifier))


@given(st.lists(st.integers(0, 2**40), max_size=6), st.sampled_from(["0.0", "0.39", "1.39", "2.40", "2.47"]))
def test_every_identifier_survives_the_round_trip(arcs: list[int], root: str) -> None:
    identifier = ".".join([root, *map(str, arcs)])
    assert identifier == dotted(content(identifier))


def test_an_arc_below_joint_iso_itu_t_may_be_large() -> None:
    assert dotted(b"\x88\x37") == "2.999"


@pytest.mark.parametrize("junk", [b"", b"\x80\x01", b"\x2a\x80\x01", b"\x2a\x86", bytes(65)])
def test_what_der_never_writes_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match="object identifier"):
        dotted(junk)
