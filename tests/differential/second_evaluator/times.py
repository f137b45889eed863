"""Instants, dates and durations of a policy, and its time windows."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from tests.differential.second_evaluator.words import RefusedError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: Any) -> float:
    """Read `300ms`, `5m`, `24h`, `7d`; seconds."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text if isinstance(text, str) else "", re.ASCII)
    if found is None:
        raise RefusedError(f"no duration: {text!r}")
    return int(found[1]) * UNITS[found[2]]


def instant(text: Any) -> int:
    """Read an instant with its offset; epoch seconds."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise RefusedError(f"no instant: {text!r}") from None
    if moment.tzinfo is None:
        raise RefusedError(f"no zone in {text!r}")
    return int(moment.timestamp())


def day(text: Any) -> int:
    """Read a date: the epoch second at which it begins, in UTC."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise RefusedError(f"no date: {text!r}")
    try:
        begins = date.fromisoformat(text)
    except ValueError:
        raise RefusedError(f"no date: {text!r}") from None
    return int(datetime(begins.year, begins.month, begins.day, tzinfo=UTC).timestamp())


def clock(text: str) -> int:
    """Read HH:MM, up to 24:00; minutes."""
    found = re.fullmatch(r"(\d\d):(\d\d)", text, re.ASCII)
    minutes = int(found[1]) * 60 + int(found[2]) if found else -1
    if found is None or int(found[2]) > 59 or not 0 <= minutes <= 1440:
        raise RefusedError(f"no time of day: {text!r}")
    return minutes


def read_days(node: Any) -> frozenset[int]:
    """The specification: "`days` is a day, a range or a list"."""
    items = node if isinstance(node, list) else [node]
    if not items:
        raise RefusedError("an empty match")
    chosen: set[int] = set()
    for item in items:
        first, dash, last = item.partition("-") if isinstance(item, str) else ("", "", "")
        if first not in DAYS or (dash and last not in DAYS):
            raise RefusedError(f"no day: {item!r}")
        index = DAYS.index(first)
        chosen.add(index)
        while dash and DAYS[index] != last:
            index = (index + 1) % 7
            chosen.add(index)
    return frozenset(chosen)


@cache
def zones() -> set[str]:
    """The IANA zones."""
    return available_timezones()


def read_window(node: Any) -> Callable[[int], bool]:
    """Read `{tz, days, hours}`: half-open; past midnight, the day is "the one on which the window opens"."""
    if not isinstance(node, dict) or not set(node) <= {"tz", "days", "hours"} or len(node) < 2:
        raise RefusedError(f"no time window: {node}")
    if not isinstance(node.get("tz"), str) or node["tz"] not in zones():
        raise RefusedError("IANA zone compulsory")
    zone = ZoneInfo(node["tz"])
    days = read_days(node["days"]) if "days" in node else frozenset(range(7))
    given = node.get("hours", "00:00-24:00")
    if isinstance(given, list):  # of which the specification says nothing: "values of a key" are ORed
        windows = [read_window({**node, "hours": one}) for one in given]
        if not windows:
            raise RefusedError("an empty match")
        return lambda now: any(window(now) for window in windows)
    if not isinstance(given, str) or given.count("-") != 1:
        raise RefusedError(f"no hours: {given!r}")
    opens, closes = map(clock, given.split("-"))
    if opens == closes:
        raise RefusedError("equal ends")

    def holds(now: int) -> bool:
        local = datetime.fromtimestamp(now, zone)
        minute = local.hour * 60 + local.minute
        today, yesterday = local.weekday(), (local - timedelta(days=1)).weekday()
        if opens < closes:
            return today in days and opens <= minute < closes
        return (today in days and minute >= opens) or (yesterday in days and minute < closes)

    return holds
