"""The `args` line of the message: what is sent, for what a policy reads."""

from __future__ import annotations

import pytest

from spoa.adapter import ARGUMENTS
from spoa.haproxy_config.arguments import ALWAYS_SENT, SAMPLES, message_arguments, omission_notes


def names(line: str) -> list[str]:
    return [word.partition("=")[0] for word in line.split(" ")]


def test_the_samples_are_those_of_the_arguments_that_the_agent_knows() -> None:
    assert {name.encode() for name in SAMPLES} == set(ARGUMENTS)


def test_the_certificate_is_always_sent_and_nothing_else_that_nobody_reads() -> None:
    assert set(names(message_arguments([]))) == ALWAYS_SENT


def test_what_is_read_is_sent_once_and_in_the_order_of_the_table() -> None:
    assert names(message_arguments(["path", "method", "cert", "src"])) == [
        "cert",
        "used",
        "verify",
        "resumed",
        "src",
        "method",
        "path",
        "id",
    ]


@pytest.mark.parametrize("name", ["host", "sni"])
def test_host_and_server_name_go_together_since_a_gate_compares_them(name: str) -> None:
    assert {"host", "sni"} <= set(names(message_arguments([name])))


def test_a_header_is_sent_with_its_count() -> None:
    line = message_arguments(["hdrcnt.x-tenant", "hdr.x-tenant", "hdr.accept", "hdrcnt.accept"])
    assert line.split(" ")[-4:] == [
        "hdr.accept=req.fhdr(accept)",
        "hdrcnt.accept=req.fhdr_cnt(accept)",
        "hdr.x-tenant=req.fhdr(x-tenant)",
        "hdrcnt.x-tenant=req.fhdr_cnt(x-tenant)",
    ]


def test_each_argument_that_may_not_be_sent_has_its_cost_told_and_those_that_are_sent_have_none() -> None:
    told = [name for note in omission_notes([]) for name in note.partition(":")[0].split(", ")]
    assert set(told) == SAMPLES.keys() - ALWAYS_SENT
    assert omission_notes(SAMPLES) == []
    assert [note for note in omission_notes(["host", "path"]) if note.startswith(("path", "host", "sni"))] == []


@pytest.mark.parametrize("name", ["body", "hdr", "hdr.", "cookie.session"])
def test_an_argument_that_has_no_sample_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="no sample is known"):
        message_arguments([name])
