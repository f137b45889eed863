"""Windows of time: days, hours, midnight, and the changes to and from summer time."""

from __future__ import annotations

import datetime as dt
import pickle
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.policy.schedule import DAYS, TimeWindow, instants, read_days, read_hours, read_zone

PARIS = zoneinfo.ZoneInfo("Europe/Paris")


def window(days: str, hours: str, zone: str = "Europe/Paris") -> TimeWindow:
    return TimeWindow(read_zone(zone), read_days(days), read_hours(hours), f"{days} {hours}")


def at(text: str, zone: str = "Europe/Paris", fold: int = 0) -> int:
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)
    return int(moment.timestamp())


#: 2026-11-20 is a Friday.
CASES = [
    ("mon-fri", "08:00-19:00", "2026-11-20T07:59", False),
    ("mon-fri", "08:00-19:00", "2026-11-20T08:00", True),
    ("mon-fri", "08:00-19:00", "2026-11-20T18:59", True),
    ("mon-fri", "08:00-19:00", "2026-11-20T19:00", False),
    ("mon-fri", "08:00-19:00", "2026-11-21T12:00", False),
    ("sat-sun", "00:00-24:00", "2026-11-20T23:59", False),
    ("sat-sun", "00:00-24:00", "2026-11-21T00:00", True),
    ("sat-sun", "00:00-24:00", "2026-11-22T23:59", True),
    ("sat-sun", "00:00-24:00", "2026-11-23T00:00", False),
    ("fri", "22:00-24:00", "2026-11-20T23:59", True),
    ("fri", "22:00-24:00", "2026-11-21T00:00", False),
    # Across midnight the day is that on which the window opens.
    ("fri", "22:00-06:00", "2026-11-20T21:59", False),
    ("fri", "22:00-06:00", "2026-11-20T22:00", True),
    ("fri", "22:00-06:00", "2026-11-21T05:59", True),
    ("fri", "22:00-06:00", "2026-11-21T06:00", False),
    ("fri", "22:00-06:00", "2026-11-20T05:00", False),
    ("fri", "22:00-06:00", "2026-11-21T22:00", False),
    ("sun", "22:00-06:00", "2026-11-23T03:00", True),
    ("mon", "22:00-06:00", "2026-11-23T03:00", False),
    ("fri", "22:00-00:00", "2026-11-20T23:59", True),
    ("fri", "22:00-00:00", "2026-11-21T00:00", False),
    # Ranges may run over the end of the week.
    ("fri-mon", "00:00-24:00", "2026-11-22T12:00", True),
    ("fri-mon", "00:00-24:00", "2026-11-24T12:00", False),
]


@pytest.mark.parametrize(("days", "hours", "moment", "expected"), CASES)
def test_a_window_is_half_open_on_the_wall_clock(days: str, hours: str, moment: str, expected: bool) -> None:
    for generous in (False, True):
        assert window(days, hours).matches(at(moment), generous=generous) is expected


def test_one_instant_is_another_time_in_another_zone() -> None:
    moment = at("2026-11-20T08:30", "UTC")
    assert window("fri", "08:00-09:00", "UTC").matches(moment, generous=False)
    assert window("fri", "17:00-18:00", "Asia/Tokyo").matches(moment, generous=False)
    assert not window("fri", "08:00-09:00").matches(moment, generous=False)


def test_in_summer_time_the_wall_clock_counts() -> None:
    winter, summer = at("2026-01-16T08:00"), at("2026-07-17T08:00")
    assert (summer - winter) % 86400 == 86400 - 3600
    for moment in (winter, summer):
        assert window("fri", "08:00-09:00").matches(moment, generous=False)
        assert not window("fri", "08:00-09:00").matches(moment - 1, generous=False)


def test_the_hour_that_comes_twice_is_inside_twice_and_the_missing_one_never() -> None:
    # 2026-10-25, 03:00 → 02:00 in Paris; 2026-03-29, 02:00 → 03:00.
    night = window("sun", "02:00-03:00")
    for fold in (0, 1):
        assert night.matches(at("2026-10-25T02:30", fold=fold), generous=False)
    last = at("2026-03-29T01:59") + 59
    assert not night.matches(last, generous=False)
    assert not night.matches(last + 1, generous=False)
    assert dt.datetime.fromtimestamp(last + 1, PARIS).hour == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [("mon", {0}), ("mon-fri", {0, 1, 2, 3, 4}), ("sat-mon", {5, 6, 0}), ("wed-wed", {2}), ("mon-sun", set(range(7)))],
)
def test_days_are_a_day_or_a_range(text: str, expected: set[int]) -> None:
    assert read_days(text) == expected


@pytest.mark.parametrize("text", ["", "monday", "Mon", "mon-", "-fri", "mon-fri-sun", "mon,tue", "mon - fri", "1"])
def test_other_words_are_no_days(text: str) -> None:
    with pytest.raises(ValueError, match="write days as"):
        read_days(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("8:00-19:00", "write hours as"),
        ("08:00", "write hours as"),
        ("08:00 - 19:00", "write hours as"),
        ("08:00-19:00\n", "write hours as"),
        ("0\u0668:00-19:00", "write hours as"),
        ("08:60-19:00", "no such time"),
        ("08:00-19:60", "no such time"),
        ("25:00-26:00", "no such time"),
        ("08:00-24:01", "no such time"),
        ("24:00-08:00", "no such time"),
        ("08:00-08:00", "both ends are equal"),
        ("00:00-00:00", "both ends are equal"),
    ],
)
def test_hours_that_are_none_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_hours(text)


def test_hours_are_minutes_after_midnight() -> None:
    assert read_hours("00:00-24:00") == (0, 1440)
    assert read_hours("22:30-06:15") == (1350, 375)


@pytest.mark.parametrize("name", ["Europe/Paris", "America/New_York", "UTC", "Etc/GMT+5"])
def test_iana_zones_are_known(name: str) -> None:
    assert read_zone(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "Paris", "CEST", "+01:00", "Europe", "../etc/passwd", "/etc/localtime", "a\0b", "x" * 5000),
        *("localtime", "posixrules", "Factory", "right/Europe/Paris", "posix/Europe/Paris"),
    ],
)
def test_what_is_no_iana_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="IANA time zone"):
        read_zone(name)


def test_a_window_survives_its_pickle_and_shows_what_was_written() -> None:
    again = pickle.loads(pickle.dumps(window("fri", "22:00-06:00")))
    assert again.matches(at("2026-11-21T05:59"), generous=False)
    assert str(again) == "fri 22:00-06:00"
    assert DAYS[0] == "mon"


# -- instants that stand for all --------------------------------------------------------------------------------

SEVERAL = [
    window("mon-fri", "08:00-19:00"),
    window("sat", "22:00-06:00", "America/New_York"),
    window("mon-sun", "01:30-02:30"),
]


def test_no_window_gives_the_present_alone() -> None:
    assert instants([], at("2026-11-20T10:00")) == (at("2026-11-20T10:00"),)


@given(st.integers(0, 365 * 24 * 60))
def test_any_minute_of_a_year_is_like_an_instant(minute: int) -> None:
    now = at("2026-11-20T10:00")
    kinds = {tuple(one.matches(instant, generous=False) for one in SEVERAL) for instant in instants(SEVERAL, now)}
    assert tuple(one.matches(now + 60 * minute, generous=False) for one in SEVERAL) in kinds


def test_weeks_between_two_changes_to_summer_time_are_looked_at() -> None:
    both = [window("mon-sun", "08:00-09:00"), window("mon-sun", "03:00-04:00", "America/New_York")]
    found = instants(both, at("2027-01-10T00:00"))
    # For three weeks in March New York is an hour closer.
    assert any(both[0].matches(one, generous=False) != both[1].matches(one, generous=False) for one in found)
