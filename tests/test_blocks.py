"""Blocks refuse a certificate by digest, key or serial number, until they expire, and nothing else."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from spoa.blocks import Block, BlockList, Target, read_target
from spoa.exceptions import PolicyError
from spoa.facts import UNAVAILABLE
from spoa.identity import identity_from_der
from spoa.listindex import NEVER
from tests.pki import CA
from tests.policies import NOW, certificate

CERTIFICATE = identity_from_der(CA("corp").issue("alice").der)


def _digest(value: object) -> str:
    assert isinstance(value, bytes)
    return value.hex()


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("sha256:" + "AB" * 32, ("sha256", b"\xab" * 32)),
        ("sha256:" + ":".join(["ab"] * 32), ("sha256", b"\xab" * 32)),
        ("spki:" + "00" * 32, ("spki", bytes(32))),
        ("corp/0A:ff", ("serial", ("corp", 0x0AFF))),
        ("corp/-1", ("serial", ("corp", -1))),
        ("a/b/7", ("serial", ("a/b", 7))),
    ],
)
def test_a_target_is_read(text: str, target: object) -> None:
    assert read_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "ab" * 31,
        "spki:zz",
        "sha1:" + "ab" * 20,
        "corp/",
        "/7",
        "corp/xyz",
        "corp",
        "corp/0x7",
    ],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a certificate file|64 hex digits"):
        read_target(text)


@pytest.mark.parametrize("kind", ["sha256", "spki", "serial"])
def test_a_certificate_is_blocked_by_each_kind_of_target(kind: str) -> None:
    targets = {
        "sha256": f"sha256:{_digest(CERTIFICATE.sha256)}",
        "spki": f"spki:{_digest(CERTIFICATE.spki_sha256)}",
        "serial": f"corp/{CERTIFICATE.serial:x}",
    }
    blocks = BlockList([Block(read_target(targets[kind]))])
    assert blocks.blocks_certificate(CERTIFICATE, "corp", 1) == (True, NEVER)


def test_a_serial_number_of_another_issuer_blocks_nothing() -> None:
    blocks = BlockList([Block(read_target(f"partners/{CERTIFICATE.serial:x}"))])
    assert blocks.blocks_certificate(CERTIFICATE, "corp", 1) == (False, NEVER)


@pytest.mark.parametrize(
    ("target", "unknown", "is_blocked"),
    [
        (("sha256", b"\xab" * 32), {"sha256": UNAVAILABLE}, True),
        (("sha256", b"\xab" * 32), {"spki_sha256": UNAVAILABLE, "serial": UNAVAILABLE}, False),
        (("spki", b"\xab" * 32), {"spki_sha256": UNAVAILABLE}, True),
        (("serial", ("corp", 5)), {"serial": UNAVAILABLE}, True),
        (("serial", ("partners", 5)), {"serial": UNAVAILABLE}, False),
    ],
)
def test_a_certificate_of_which_is_unknown_what_a_block_names_is_blocked(
    target: Target, unknown: dict[str, Any], is_blocked: bool
) -> None:
    blocks, given = BlockList([Block(target, expires=NOW + 5)]), certificate("alice", **unknown)
    assert blocks.blocks_certificate(given, "corp", NOW) == (is_blocked, NOW + 5 if is_blocked else NEVER)
    assert bool(blocks.naming(given, "corp", NOW)) is is_blocked
    assert blocks.blocks_certificate(given, "corp", NOW + 5) == (False, NEVER)


def test_a_block_ends_at_the_second_of_its_expiry() -> None:
    blocks = BlockList([Block(read_target(f"corp/{CERTIFICATE.serial:x}"), expires=100)])
    assert blocks.blocks_certificate(CERTIFICATE, "corp", 99) == (True, 100)
    assert blocks.blocks_certificate(CERTIFICATE, "corp", 100) == (False, NEVER)


def test_of_two_blocks_of_one_target_the_longer_counts() -> None:
    target = read_target(f"corp/{CERTIFICATE.serial:x}")
    blocks = BlockList([Block(target, expires=200), Block(target, expires=100)])
    assert blocks.blocks_certificate(CERTIFICATE, "corp", 150) == (True, 200)


def test_a_file_is_read_with_all_that_it_says() -> None:
    text = (
        "apiVersion: authz/v1\nkind: blocks\nentries:\n"
        f"  - {{sha256: {'ab' * 32}, reason: lost, ticket: INC-1, blocked: 2026-11-22T00:00:00Z}}\n"
        "  - {issuer: corp, serial: 0a, expires: 2026-11-23T00:00:00Z}\n"
    ).encode()
    blocks = BlockList.from_text(text)
    assert [block.target for block in blocks.blocks] == [("sha256", b"\xab" * 32), ("serial", ("corp", 10))]
    assert (blocks.blocks[0].reason, blocks.blocks[0].ticket, blocks.blocks[0].expires) == ("lost", "INC-1", NEVER)
    assert blocks.blocks[1].expires - blocks.blocks[0].blocked == 86_400
    assert blocks.digest == hashlib.sha256(text).hexdigest()
    assert len(blocks) == 2


def test_an_empty_file_blocks_nothing() -> None:
    assert len(BlockList.from_text(b"")) == 0
    assert BlockList.from_text(b"").digest == ""


@pytest.mark.parametrize(
    "entries",
    [
        "[{sha256: ab}]",
        "[{serial: 7}]",
        "[{sha256: " + "ab" * 32 + ", issuer: corp}]",
        "[{}]",
        "nothing",
        "[{spkki: 7}]",
    ],
)
def test_a_file_with_a_problem_is_refused_whole(entries: str) -> None:
    with pytest.raises(PolicyError) as caught:
        BlockList.from_text(f"apiVersion: authz/v1\nkind: blocks\nentries: {entries}\n".encode())
    assert caught.value.problems[0].file == "blocks.yaml"
    assert caught.value.problems[0].line >= 3


def test_the_blocks_that_name_a_certificate_are_told_while_they_last() -> None:
    one = certificate(sha256=b"\xab" * 32, spki_sha256=b"\xcd" * 32, serial=10)
    blocks = BlockList(
        [
            Block(("sha256", b"\xab" * 32), "lost"),
            Block(("spki", b"\xcd" * 32), expires=NOW),
            Block(("serial", ("corp", 10)), expires=NOW + 1),
            Block(("serial", ("partners", 10))),
        ]
    )
    assert [block.target[0] for block in blocks.naming(one, "corp", NOW)] == ["sha256", "serial"]
    assert blocks.naming(certificate(), "corp", NOW) == ()
