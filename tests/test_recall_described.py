"""What the log is told of a request that is remembered is what was asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spoa.adapter import read_request
from spoa.facts import UNAVAILABLE, Request
from spoa.loading import load_policy
from spoa.spop import DataType
from tests.pki import CA
from tests.recalling import NOW, Asker, http, payload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.pki import Issued

CORP = CA("corp", now=NOW)
POLICY = """
apiVersion: authz/v1
issuers: {corp: {ca: ca.pem, revocation: {none: test}}}
identities: {staff: {issuer: corp, ou: staff}}
rules: [{id: staff, effect: allow, who: staff, request: {path: "/a/**"}}]
"""


@pytest.fixture(scope="module")
def people() -> Sequence[Issued]:
    return [CORP.issue(name, ["staff"]) for name in ("alice", "bob")]


@pytest.fixture
def asker(tmp_path: Path) -> Asker:
    (tmp_path / "ca.pem").write_bytes(CORP.pem)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return Asker(load_policy(tmp_path, now=NOW))


def described(asker: Asker, asked: bytes) -> tuple[Request, str]:
    """Return what the log is told of a request that is remembered."""
    found = asker.recall.ask(asked, 0, len(asked), NOW)
    if found is None:
        for _ in range(2):
            asker.fresh(asked)
        found = asker.recall.ask(asked, 0, len(asked), NOW)
    assert found is not None
    return asker.recall.request_of(asked, 0, len(asked), found)


@pytest.mark.parametrize("path", ["/a/b", "/a/c", "/" + "x" * 2000])
@pytest.mark.parametrize(
    "identifier", ["", "1", "2", "\u00e9", "x" * 239, "x" * 240, "a\x02id\x08\x01b", "a\x02id\x08\x02b"]
)
def test_the_log_gets_what_was_asked_and_by_whose_id(
    asker: Asker, people: Sequence[Issued], path: str, identifier: str
) -> None:
    for who in (*people[:2], *people[:2]):
        request, own = described(asker, http(who.der, path, "12345678"[: len(identifier)]))
        asked = http(who.der, path, identifier)
        request, own = described(asker, asked)
        expected = read_request(asked)
        assert expected is not None
        assert (own or request.id) == expected.id
        assert replace(request, id="") == replace(expected, cert=UNAVAILABLE, id="")


def test_the_log_gets_each_request_s_own_words_in_any_order(asker: Asker, people: Sequence[Issued]) -> None:
    """Whoever asks the same shares a description, and nobody else has a part in it."""
    asked = [
        payload(
            who.der, ("path", DataType.STRING, path), ("host", DataType.STRING, host), ("hdr.x", DataType.STRING, host)
        )
        for who in people[:2]
        for path in (b"/a", b"/b", b"/c")
        for host in (b"one", b"two")
    ]
    told = [[described(asker, one)[0] for one in asked] for _ in range(3)]
    for again in told:
        for one, request in zip(asked, again, strict=True):
            expected = read_request(one)
            assert expected is not None
            assert expected.headers
            assert request == replace(expected, cert=UNAVAILABLE, headers={})
    assert all(one is other for one, other in zip(told[1], told[2], strict=True))
    assert len({id(request) for request in told[2]}) == len(asked) / 2, "two clients share each"


def test_what_is_asked_once_or_is_long_is_described_and_not_kept(asker: Asker, people: Sequence[Issued]) -> None:
    once = [http(people[0].der, f"/{number}", "1") for number in range(50)]
    long = [http(people[0].der, "/" + "x" * 600, "1")] * 3
    for one in (*once, *long):
        described(asker, one)
    assert not len(asker.recall._described)
    described(asker, once[7])
    assert len(asker.recall._described) == 1


@pytest.mark.parametrize("identifier", ["", "7"])
def test_where_a_message_lies_in_a_read_changes_nothing_of_what_the_log_is_told(
    asker: Asker, people: Sequence[Issued], identifier: str
) -> None:
    asked = http(people[0].der, "/a/b", identifier)
    before, behind = bytes(11), b"\x02id\x08\x01z"
    first, own = described(asker, asked)
    again, _ = described(asker, asked)
    assert again is not first, "it was asked once, and is described anew"
    for read, begin in ((before + asked, len(before)), (asked, 0), (before + asked + behind, len(before))):
        stop = begin + len(asked)
        found = asker.recall.ask(read, begin, stop, NOW)
        assert found is not None
        found.request = None
        told, by = asker.recall.request_of(read, begin, stop, found)
        assert (told is again, by) == (True, own)
