"""Windows of time: days and hours on a wall clock somewhere (`when: {time: ...}`)."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DAYS", "TimeWindow", "instants", "read_days", "read_hours", "read_zone"]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_DAY: Final = 24 * 60
#: What stands beside the zones in a system's directory: each machine has its own `localtime`; `right` has leap seconds.
_NO_ZONE: Final = re.compile(r"(?:localtime|posixrules|Factory)$|(?:posix|right)/")


def read_zone(text: str) -> zoneinfo.ZoneInfo:
    """Return the IANA time zone named *text*.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        # An empty name is none either, and is refused as such.
        return zoneinfo.ZoneInfo("" if _NO_ZONE.match(text) else text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("write an IANA time zone: `Europe/Paris`, `America/New_York`, `UTC`") from None


def read_days(text: str) -> frozenset[int]:
    """Return the days of `mon` or `mon-fri` (ranges may run over the week's end), Monday being 0.

    Raises:
        ValueError: a word that is no day.
    """
    first, dash, last = text.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError("write days as mon, tue, wed, thu, fri, sat, sun or a range such as `mon-fri`")
    begin = DAYS.index(first)
    length = (DAYS.index(last or first) - begin) % 7
    return frozenset((begin + offset) % 7 for offset in range(length + 1))


def read_hours(text: str) -> tuple[int, int]:
    """Return `HH:MM-HH:MM` as minutes after midnight, the end exclusive.

    Raises:
        ValueError: not of that form, no such time, or equal ends.
    """
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError("write hours as `08:00-19:00`; the end is exclusive, 24:00 is allowed there")
    hours = [int(part) for part in found.groups()]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if max(hours[1], hours[3]) > 59 or begin >= _DAY or end > _DAY:  # noqa: PLR2004 -- minutes of an hour
        raise ValueError("there is no such time of day; hours run from 00:00 to 24:00, which can only be an end")
    if begin == end:
        raise ValueError("both ends are equal; write `00:00-24:00` for the whole day")
    return begin, end


class TimeWindow:
    """Days and hours by the wall clock of a zone, across changes to and from summer time.

    A window that crosses midnight belongs to the day on which it opens.

    Attributes:
        zone: the IANA zone.
        days: days of the week on which the window opens, Monday being 0.
        hours: minutes after midnight, half-open; the second is smaller where midnight is crossed.
    """

    __slots__ = ("days", "hours", "source", "zone")

    def __init__(self, zone: zoneinfo.ZoneInfo, days: frozenset[int], hours: tuple[int, int], source: str) -> None:
        self.zone = zone
        self.days = days
        self.hours = hours
        self.source = source

    def matches(self, value: int, *, generous: bool) -> bool:  # noqa: ARG002 -- time has one reading
        """Tell whether the instant *value*, in seconds since the epoch, lies within."""
        local = dt.datetime.fromtimestamp(value, self.zone)
        minute = local.hour * 60 + local.minute
        begin, end = self.hours
        if begin < end:
            return local.weekday() in self.days and begin <= minute < end
        opened_yesterday = (local.weekday() - 1) % 7 in self.days
        return (local.weekday() in self.days and minute >= begin) or (opened_yesterday and minute < end)

    def __str__(self) -> str:
        return self.source


# -- all times that matter --------------------------------------------------------------------------------------

_SECONDS: Final = 86_400
#: Days in which every change to and from summer time comes about.
_YEAR: Final = 400
_WEEK: Final = 7


def instants(windows: Iterable[TimeWindow], now: int) -> tuple[int, ...]:
    """Return instants of which one is like any other from *now* on to these windows; seconds since the epoch.

    What windows make of a time depends on the time of the week and on how far their zones are from UTC. So it is enough
    to look at one week for each set of distances that comes about within a year, at every edge of a window.
    """
    several = tuple(windows)
    zones = tuple({window.zone.key: window.zone for window in several}.values())
    found = {now: None}
    for first, last in _periods(zones, now):
        found |= dict.fromkeys((first, *(edge for edge in _edges(several, first) if first <= edge <= last)))
    return tuple(found)


def _periods(zones: tuple[zoneinfo.ZoneInfo, ...], now: int) -> Iterator[tuple[int, int]]:
    """Yield the beginning and end of the longest time, up to eight days, that zones stay at each set of distances."""
    longest: dict[tuple[object, ...], tuple[int, int]] = {}
    begin, before = now, _distances(zones, now)
    for day in range(1, _YEAR + 1):
        after = _distances(zones, now + day * _SECONDS)
        if after == before and day < _YEAR:
            continue
        end = now + (day - 1) * _SECONDS
        known = longest.get(before, (0, -1))
        if end - begin > known[1] - known[0]:
            longest[before] = (begin, end)
        begin, before = now + day * _SECONDS, after
    for first, last in longest.values():
        yield first, min(last, first + (_WEEK + 1) * _SECONDS)


def _distances(zones: tuple[zoneinfo.ZoneInfo, ...], instant: int) -> tuple[object, ...]:
    return tuple(dt.datetime.fromtimestamp(instant, zone).utcoffset() for zone in zones)


def _edges(windows: Iterable[TimeWindow], first: int) -> Iterator[int]:
    for window in windows:
        today = dt.datetime.fromtimestamp(first, window.zone).date()
        for day in range(-1, _WEEK + 3):
            midnight = dt.datetime.combine(today + dt.timedelta(days=day), dt.time())
            for minute in window.hours:
                yield int((midnight + dt.timedelta(minutes=minute)).replace(tzinfo=window.zone).timestamp())
