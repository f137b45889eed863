"""Audits of lists: each kind of finding, and none without its reason."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from spoa.listaudit import CODES, audit, sighting_of
from spoa.listtext import ListText, read_key
from spoa.recorded import Sightings
from tests.policies import NOW

DAY = 86_400
A, B, C = ("aa" * 32, "bb" * 32, "cc" * 32)


def rich(*entries: str, file: str = "x.yaml") -> ListText:
    lines = "".join(f"  - {{{entry}}}\n" for entry in entries)
    return ListText(f"apiVersion: authz/v1\nkind: list\npermanent: true\nentries:\n{lines}".encode(), file)


def instant(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def seen(verdict: str = "allow", into: Sightings | None = None, **when: float) -> Sightings:
    """Return what logs tell in which these certificates (`a`: aa…) were allowed, or denied, so many days ago."""
    found = Sightings() if into is None else into
    for name, days in when.items():
        row = {"time": instant(NOW - days * DAY), "verdict": verdict, "cert": {"sha256": name * 64}}
        found.read([json.dumps(row).encode()])
    return found


def codes(*lists: ListText, sightings: Sightings | None = None) -> list[tuple[int, str]]:
    return [(one.line, one.code) for one in audit(lists, NOW, sightings=sightings)]


def test_what_ends_is_told_ahead_of_time_and_afterwards() -> None:
    text = rich(
        f"sha256: {A}, owner: ops, expires: {instant(NOW)}",
        f"sha256: {B}, expires: {instant(NOW + 30 * DAY)}",
        f"sha256: {C}, expires: {instant(NOW + 31 * DAY)}",
    )
    assert codes(text) == [(5, "expired"), (6, "expiring")]
    assert audit([text], NOW)[0].message.endswith("remove it; owner: ops")
    assert [one.code for one in audit([text], NOW, ahead=0)] == ["expired"]


def test_what_stands_twice_is_told_also_across_lists_and_as_a_successor() -> None:
    first = rich(f"sha256: {A}", f"sha256: {A}", f"sha256: {B}, next: {A}")
    other = ListText(f"{C}\n{B}\n".encode(), "y.txt")
    assert [(one.file, one.line, one.code) for one in audit([first, other], NOW)] == [
        ("x.yaml", 6, "duplicate"),
        ("x.yaml", 7, "duplicate"),
        ("y.txt", 2, "duplicate"),
    ]


def test_who_was_not_seen_for_long_is_unused_and_who_is_in_no_log_was_never_seen() -> None:
    text = rich(f"sha256: {A}", f"sha256: {B}", f"sha256: {C}", f"spki_sha256: {A}")
    assert codes(text, sightings=seen(d=200, a=91, b=89)) == [(5, "unused"), (7, "never-seen")]
    assert "which is short" in audit([text], NOW, sightings=seen(b=1))[0].message


def test_logs_without_allows_say_nothing_about_use() -> None:
    denied = Sightings()
    denied.read([json.dumps({"time": instant(NOW), "verdict": "deny", "cert": None}).encode()])
    assert codes(rich(f"sha256: {A}"), sightings=denied) == []


def test_a_rotation_whose_successor_has_taken_over_can_be_finished() -> None:
    text = rich(f"sha256: {A}, next: {B}")
    assert codes(text, sightings=seen(a=2, b=1)) == [(5, "rotation-done")]
    assert codes(text, sightings=seen(b=1)) == [(5, "rotation-done")]
    assert codes(text, sightings=seen(b=2, a=1)) == []
    assert codes(text, sightings=seen(a=1)) == []


def test_a_denied_request_shows_no_use_of_a_successor_and_that_the_old_certificate_is_still_sent() -> None:
    text = rich(f"sha256: {A}, next: {B}")
    assert codes(text, sightings=seen("deny", seen(a=3, c=1), b=2)) == []
    assert codes(text, sightings=seen("deny", seen(a=3, b=1), b=2)) == [(5, "rotation-done")]
    assert codes(text, sightings=seen("deny", seen(b=2), a=1)) == []
    # The old one was still sent after the new one was refused, and before it was first allowed.
    found = audit([text], NOW, sightings=seen("deny", seen(a=2, b=1), b=3))
    assert [one.code for one in found] == ["rotation-done"]
    assert f"in use since {instant(NOW - DAY)}" in found[0].message


def test_a_client_that_is_only_denied_is_seen() -> None:
    assert codes(rich(f"sha256: {A}"), sightings=seen("deny", seen(c=1), a=89)) == []


def test_sha1_is_told() -> None:
    assert codes(ListText(b"12" * 20, "x.txt")) == [(1, "sha1")]


def test_entries_by_key_and_serial_number_are_never_seen_where_logs_name_such_and_not_theirs() -> None:
    text = rich(f"spki_sha256: {A}", f"spki_sha256: {B}", "issuer: corp, serial: 'ff'")
    cert = {"sha256": C, "spki_sha256": A}
    sightings = Sightings()
    row = {"time": instant(NOW), "verdict": "allow", "cert": cert}
    sightings.read([json.dumps(row).encode()])
    assert codes(text, sightings=sightings) == [(6, "never-seen")]
    row["cert"] = {**cert, "issuer_name": "corp", "serial": "1"}
    sightings.read([json.dumps(row).encode()])
    assert codes(text, sightings=sightings) == [(6, "never-seen"), (7, "never-seen")]


def test_a_key_that_logs_don_t_name_was_seen_by_nobody() -> None:
    assert sighting_of(read_key(f"spki:{A}"), seen(a=1)) is None
    assert sighting_of(read_key(A), None) is None
    found = sighting_of(read_key(A), seen(a=1))
    assert found is not None
    assert found.last == NOW - DAY


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_sentence(code: str) -> None:
    assert CODES[code]


def test_logs_that_mask_fingerprints_say_nothing_about_use() -> None:
    masked = seen(b=1)
    row = {"time": instant(NOW), "verdict": "allow", "masked": ["sha256"], "cert": {"sha256": "masked"}}
    masked.read([json.dumps(row).encode()])
    assert codes(rich(f"sha256: {A}"), sightings=masked) == []


def test_logs_that_mask_serial_numbers_say_so_much_less_and_no_more() -> None:
    text = rich(f"sha256: {A}", "issuer: corp, serial: '01'")
    cert = {"sha256": "ff" * 32, "issuer_name": "corp", "serial": "2"}
    sightings = Sightings()
    for row in ({"cert": cert}, {"cert": {**cert, "serial": "masked"}, "masked": ["serial"]}):
        sightings.read([json.dumps({"time": instant(NOW), "verdict": "allow", **row}).encode()])
    assert codes(text, sightings=sightings) == [(5, "never-seen")]
