from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.pem import Block, read_blocks, write_block

_ONE = write_block("CERTIFICATE", b"\x30\x03abc")
_TWO = write_block("CERTIFICATE", b"\x30\x03xyz")


@given(st.binary(min_size=1, max_size=300))
def test_what_is_written_is_read_again(der: bytes) -> None:
    assert (Block("X509 CRL", 1, der),) == read_blocks(write_block("X509 CRL", der), "X509 CRL")


def test_lines_have_at_most_64_characters() -> None:
    assert max(map(len, write_block("CERTIFICATE", bytes(200)).splitlines())) == 64


def test_every_block_is_read_with_the_line_it_begins_at() -> None:
    content = b"subject=CN = alice\n\n" + _ONE + b"some text\n" + _TWO
    assert [(block.line, block.der) for block in read_blocks(content, "CERTIFICATE")] == [
        (3, b"\x30\x03abc"),
        (7, b"\x30\x03xyz"),
    ]


def test_blocks_of_another_kind_are_not_returned() -> None:
    content = write_block("PRIVATE KEY", b"secret") + _ONE
    assert [block.der for block in read_blocks(content, "CERTIFICATE")] == [b"\x30\x03abc"]


@pytest.mark.parametrize("content", [_ONE.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + _ONE, _ONE.rstrip(b"\n")])
def test_line_ends_of_any_system_and_a_byte_order_mark_are_fine(content: bytes) -> None:
    assert (Block("CERTIFICATE", 1, b"\x30\x03abc"),) == read_blocks(content, "CERTIFICATE")


def test_a_file_of_der_is_one_block_without_a_line() -> None:
    assert (Block("CERTIFICATE", 0, b"\x30\x03abc"),) == read_blocks(b"\x30\x03abc", "CERTIFICATE")


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"-----END CERTIFICATE-----\n"])
def test_a_file_without_a_block_gives_none(content: bytes) -> None:
    assert read_blocks(content, "CERTIFICATE") == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (_ONE.replace(b"MANh", b"MA!h"), "not base64"),
        (_ONE.replace(b"MANh", b"MAN"), "not base64"),
        (_ONE.replace(b"MANhYmM=\n", b""), "the block CERTIFICATE is empty"),
        (_ONE[:40], "the block CERTIFICATE is never ended"),
        (_ONE.replace(b"END CERTIFICATE", b"END X509 CRL"), "the block CERTIFICATE is never ended"),
        (_ONE[:37] + _TWO, "the block CERTIFICATE is never ended"),
    ],
    ids=["no base64", "cut base64", "empty", "cut off", "another end", "begins twice"],
)
def test_a_damaged_block_is_returned_with_its_problem(content: bytes, problem: str) -> None:
    first = read_blocks(content, "CERTIFICATE")[0]
    assert (first.line, first.der) == (1, b"")
    assert first.problem.startswith(problem)


def test_a_block_after_a_damaged_one_is_still_read() -> None:
    blocks = read_blocks(_ONE.replace(b"MANh", b"MA!h") + _ONE[:37] + _TWO, "CERTIFICATE")
    assert [not block.problem for block in blocks] == [False, False, True]
