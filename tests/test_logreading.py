"""Lines of a decision log are read as Python's own reader would read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoa.decision_fields import NewerLogError
from spoa.logreading import NO_CERTIFICATE, read_certificate, read_line

CERT = {"sha256": "ab", "subject": "CN=a", "issuer": "CN=b", "serial": "1", "not_after": None}
ROW: dict[str, Any] = {
    "time": "2026-11-20T09:00:00Z",
    "verdict": "allow",
    "reason": "ok",
    "rule": "r",
    "cert": CERT,
    "src": None,
    "method": "GET",
    "host": "a.example",
    "path": "/x",
}


def line(**more: Any) -> bytes:
    return json.dumps({**ROW, **more}).encode()


def test_members_are_read_and_the_certificate_stays_bytes() -> None:
    found = read_line(line(schema=1, masked=["src"], cut=["path"], more={"a": [1]}))
    assert (found.path, found.src, found.break_glass) == ("/x", None, None)
    assert found.hidden == {"src", "path"}
    assert json.loads(bytes(found.certificate)) == CERT
    assert read_certificate(bytes(found.certificate)).subject == "CN=a"
    assert bytes(read_line(line(cert=None)).certificate) == NO_CERTIFICATE


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"[]",
        b"{}",
        b"nonsense",
        line()[:-1],
        line(method=1),
        line(path=["/x"]),
        line(masked="src"),
        line().replace(b'"rule": "r"', b'"rule": "\xff"'),
        line(id="?").replace(b"?", b"\xff"),
        json.dumps({name: value for name, value in ROW.items() if name != "cert"}).encode(),
    ],
)
def test_what_is_none_is_refused(given: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- whichever reader refuses it says so in its own words
        read_line(given)


@pytest.mark.parametrize("given", [b'"nobody"', b"{}", b'{"sha256": 1}', b'{"sha256": "ab", "subject": "\\ud800"}'])
def test_what_is_no_certificate_is_refused(given: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- as above
        read_certificate(given)


def test_lines_of_newer_agents_are_refused() -> None:
    with pytest.raises(NewerLogError):
        read_line(line(schema=2))


def test_halves_of_surrogate_pairs_are_read() -> None:
    """So are bytes logged that aren't UTF-8, and the fast reader takes none."""
    found = read_line(line(id="\udcff", host="\udc80", cert={**CERT, "subject": "CN=\udc80"}))
    assert found.host == "\udc80"
    assert read_certificate(bytes(found.certificate)).subject == "CN=\udc80"


@given(path=st.text(), name=st.text(alphabet=st.characters(exclude_categories=())), ascii_only=st.booleans())
@example(path="ü", name="\x00", ascii_only=False)
def test_texts_are_what_they_are_to_json(path: str, name: str, ascii_only: bool) -> None:
    text = json.dumps({**ROW, "path": path, "id": name}, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        wanted = json.loads(text.decode())["path"]
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            read_line(text)
    else:
        assert read_line(text).path == wanted
