"""What rules and routes are built of: identities, `who`, and the matchers of `request`, `when` and `unless`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from spoa.policy.conditions import COLUMNS, IDENTITY_CONDITIONS, Exact, HeaderPattern
from spoa.policy.document import Scalar, items_of
from spoa.policy.model import Conjunction, IdentityPattern, Matcher, Pattern, Who
from spoa.policy.reading import Reading, Report, quoted, suggestion
from spoa.policy.schedule import DAYS, TimeWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = ["Bricks"]


class Bricks:
    """Turns readings into identities and matchers; names that don't exist go to the report.

    Attributes:
        identities: the named ones, in file order.
        used: names of identities that something refers to.
    """

    def __init__(self, report: Report, issuers: Mapping[str, object], lists: Mapping[str, object]) -> None:
        self._report = report
        self._issuers = issuers
        self._lists = lists
        self.identities: dict[str, IdentityPattern] = {}
        self.used: set[str] = set()

    def name_identities(self, named: Mapping[str, tuple[Reading, str]]) -> None:
        """Build all named identities; to be called before any `who` is read."""
        for name, (entries, _) in named.items():
            value = entries.value.get(name)
            readings = value if isinstance(value, tuple) else (value,) if isinstance(value, Reading) else ()
            self.identities[name] = IdentityPattern(name, tuple(self.conjunction(reading) for reading in readings))

    def who(self, reading: Reading, key: str) -> Who | None:
        """Return the `who` behind *key*, or None when there is none."""
        value = reading.value.get(key)
        if value is None:
            return None
        node = reading.at(key)
        items = value if isinstance(value, tuple) else (value,)
        # Items that could not be read are missing among the values, so that places are found by what stands there.
        places = {one.text: one for one in reversed(items_of(node)) if isinstance(one, Scalar)}
        identities: list[IdentityPattern] = []
        words: set[str] = set()
        for item in items:
            if isinstance(item, Reading):
                identities.append(IdentityPattern("", (self.conjunction(item),)))
            elif item in {"any_certificate", "anonymous"}:
                words.add(item)
            elif item in self.identities:
                self.used.add(item)
                identities.append(self.identities[item])
            else:
                known = [*self.identities, "any_certificate", "anonymous"]
                message = f"unknown identity {quoted(item)}{suggestion(item, known)}"
                self._report.problem(places.get(item, node), reading.path_of(key), message, "unknown-name")
        return Who(tuple(identities), any_certificate="any_certificate" in words, anonymous="anonymous" in words)

    def conjunction(self, reading: Reading) -> Conjunction:
        """Return the matchers of an identity's keys."""
        matchers: list[Matcher] = []
        for key, value in reading.value.items():
            if key == "issuer":
                matchers += self._issuer(reading, value)
            elif key == "subject":
                matchers += [
                    _matcher(f"subject.{value.keys[oid].text}", f"subject:{oid}", patterns)
                    for oid, patterns in value.value.items()
                ]
            else:
                matchers.append(_matcher(key, IDENTITY_CONDITIONS[key].attribute, value))
        self._check_lists(reading)
        if "serial" in reading.value and "any" in reading.value.get("issuer", ()):
            message = "a serial number means something together with its issuer only; name the issuer"
            self._report.problem(reading.at("serial"), reading.path_of("serial"), message, "serial-without-issuer")
        return tuple(matchers)

    def _issuer(self, reading: Reading, names: tuple[str, ...]) -> Iterable[Matcher]:
        for name in names:
            if name != "any" and name not in self._issuers:
                message = f"unknown issuer {quoted(name)}{suggestion(name, [*self._issuers, 'any'])}"
                self._report.problem(reading.at("issuer"), reading.path_of("issuer"), message, "unknown-name")
        if "any" in names:
            message = "any CA that HAProxy trusts can issue such a certificate; name the issuer unless that is meant"
            self._report.problem(
                reading.at("issuer"), reading.path_of("issuer"), message, "any-issuer", is_warning=True
            )
            return
        yield Matcher("issuer", "issuer", tuple(Exact(name, name) for name in names))

    def _check_lists(self, reading: Reading) -> None:
        value = reading.value.get("in_list")
        if value is None:
            return
        patterns, is_universal = _patterns(value)
        if is_universal:
            message = "`all_of` says nothing about lists; write one identity for each way in, or `any_of`"
            self._report.problem(reading.at("in_list"), reading.path_of("in_list"), message, "useless-key")
        for pattern in patterns:
            name = str(pattern)
            if name not in self._lists:
                message = f"unknown list {quoted(name)}{suggestion(name, self._lists)}"
                self._report.problem(reading.at("in_list"), reading.path_of("in_list"), message, "unknown-name")

    def columns(self, reading: Reading | None) -> Conjunction:
        """Return the matchers of a `request`, `when` or `unless`; its `who` is left to `who`."""
        if reading is None:
            return ()
        found: list[Matcher] = []
        for key, value in reading.value.items():
            if key == "header":
                patterns: tuple[Pattern, ...] = tuple(_headers(one) for one in value)
                found.append(Matcher(key, key, patterns))
            elif key == "time":
                windows = [window for one in value for window in _windows(one)]
                found.append(Matcher(key, key, tuple(windows)))
            elif key in COLUMNS:
                found.append(_matcher(key, key, value))
        return tuple(found)


def _patterns(value: Any) -> tuple[tuple[Pattern, ...], bool]:
    """Return the patterns behind a key, and whether every value must meet one of them."""
    if isinstance(value, tuple):
        return tuple(pattern for item in value for pattern in _patterns(item)[0]), False
    if not isinstance(value, Reading):
        return (cast("Pattern", value),), False
    for word in ("all_of", "any_of"):
        if word in value.value:
            return _patterns(value.value[word])[0], word == "all_of"
    return ((value.value["re"],) if "re" in value.value else ()), False


def _matcher(key: str, attribute: str, value: Any) -> Matcher:
    patterns, is_universal = _patterns(value)
    return Matcher(key, attribute, patterns, is_universal)


def _headers(reading: Reading) -> HeaderPattern:
    matchers = (_matcher(reading.keys[name].text, name, value) for name, value in reading.value.items())
    return HeaderPattern(tuple(matchers))


def _windows(reading: Reading) -> Iterable[TimeWindow]:
    """Yield a window for each of the hours; the days of a list are joined, since any of them will do."""
    value = reading.value
    if "tz" not in value:
        return
    days = frozenset(day for some in value.get("days", ((*range(7),),)) for day in some)
    for hours in value.get("hours", ((0, 24 * 60),)):
        span = f"{hours[0] // 60:02}:{hours[0] % 60:02}-{hours[1] // 60:02}:{hours[1] % 60:02}"
        yield TimeWindow(value["tz"], days, hours, f"{_named(days)} {span} {value['tz'].key}")


def _named(days: frozenset[int]) -> str:
    return ",".join(DAYS[day] for day in sorted(days))
