from __future__ import annotations

from spoa import spop


def test_every_public_name_is_there_once_and_in_order() -> None:
    assert len(set(spop.__all__)) == len(spop.__all__)
    assert all(hasattr(spop, name) for name in spop.__all__)


def test_what_an_agent_needs_is_public() -> None:
    assert {"Connection", "Role", "Status", "read_arguments", "write_set_var"} <= set(spop.__all__)
