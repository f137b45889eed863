"""Parts of a policy as *regions*: who, and which requests. Whether one covers others, and whether two ever meet.

What is said about certificates counts on the gates: whoever gets to the rules has a certificate of a known issuer that
satisfies what the issuer asks for, and without one only where `no_certificate: anonymous` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from spoa.lint.comparison import apart, matcher_apart, matcher_within
from spoa.lint.languages import UndecidedError, canonical_paths, language_of, lower_case, text_within
from spoa.policy import oids
from spoa.policy.conditions import Exact, InList, TextRegex
from spoa.policy.path import PathPattern
from spoa.policy.sans import UriPattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spoa.policy.model import Conjunction, Issuer, Matcher, Pattern, PolicyModel, Who

__all__ = ["Atlas", "Region"]

#: Attributes of which a certificate never has two values.
_SINGLE: Final = frozenset({"issuer", "sha256", "spki_sha256", "serial", "key_bits"})
_CN: Final = f"subject:{oids.CN}"
#: Whoever has no certificate; a conjunction is met by certificates only.
_NOBODY: Final = None
Alternative: TypeAlias = "Conjunction | None"


@dataclass(frozen=True, slots=True)
class Region:
    """Who, and which requests: all must hold.

    Attributes:
        who: None for everyone.
        who_generous: the polarity of its position.
        columns: key → matcher and the polarity of its position.
    """

    who: Who | None
    who_generous: bool
    columns: Mapping[str, tuple[Matcher, bool]]

    @classmethod
    def of(cls, who: Who | None, matchers: Iterable[Matcher], *, generous: bool) -> Region:
        """Return the region of what stands in one position."""
        return cls(who, who_generous=generous, columns={matcher.key: (matcher, generous) for matcher in matchers})

    def read_strictly(self) -> Region:
        """Return the region as its writer thinks of it: what is written, and available."""
        columns = {key: (matcher, False) for key, (matcher, _) in self.columns.items()}
        return Region(self.who, who_generous=False, columns=columns)

    def of_everyone(self) -> Region:
        """Return the region of the same requests, whoever sends them."""
        return Region(None, who_generous=False, columns=self.columns)

    def without(self, key: str) -> Region:
        """Return the region without what it says of one column."""
        columns = {name: column for name, column in self.columns.items() if name != key}
        return Region(self.who, who_generous=self.who_generous, columns=columns)


class Atlas:
    """Compares the regions of one policy."""

    def __init__(self, model: PolicyModel, dead_lists: frozenset[str] = frozenset()) -> None:
        """Look at a policy.

        Args:
            model: the policy.
            dead_lists: names of lists that no certificate is on.
        """
        self._defaults = model.defaults
        self._issuers = {issuer.name: issuer for issuer in model.issuers}
        self._dead_lists = dead_lists
        self._domain = canonical_paths(generous=False, parameters=model.defaults.allows_path_parameters)
        # By identity, and with what is known by it, lest another one get the id of one that is gone.
        self._ways: dict[int, tuple[Who | None, tuple[Alternative, ...]]] = {}
        self._reasons: dict[int, tuple[Conjunction, str]] = {}
        self._whos: dict[tuple[int, int, bool, bool], tuple[Alternative, Alternative, bool]] = {}

    # -- who ---------------------------------------------------------------------------------------------------

    def alternatives(self, who: Who | None) -> tuple[Alternative, ...]:
        """Return the ways to be meant by a `who`, without those that nobody can go."""
        known = self._ways.get(id(who))
        if known is None:
            known = self._ways[id(who)] = who, self._alternatives(who)
        return known[1]

    def _alternatives(self, who: Who | None) -> tuple[Alternative, ...]:
        if who is None:
            return ((), _NOBODY) if self._defaults.allows_anonymous else ((),)
        found: list[Alternative] = [()] if who.any_certificate else []
        if who.anonymous and self._defaults.allows_anonymous:
            found.append(_NOBODY)
        found += [
            conjunction
            for identity in who.identities
            for conjunction in identity.alternatives
            if not self.why_nobody(conjunction)
        ]
        return tuple(found)

    def why_nobody(self, conjunction: Conjunction) -> str:
        """Say why no certificate can have all that an identity asks for; an empty text where one can."""
        known = self._reasons.get(id(conjunction))
        if known is None:
            known = self._reasons[id(conjunction)] = conjunction, self._why_nobody(conjunction)
        return known[1]

    def _why_nobody(self, conjunction: Conjunction) -> str:
        for matcher in conjunction:
            names = [pattern.name for pattern in matcher.patterns if isinstance(pattern, InList)]
            if names and self._dead_lists.issuperset(names):
                verb = "has" if len(names) == 1 else "have"
                return f"the list {', '.join(names)} {verb} no entry that is still valid"
        issuers = self._candidates(conjunction)
        reasons = [self._why_none_of(issuer, conjunction) for issuer in issuers]
        return reasons[0] if reasons and all(reasons) else ""

    def _candidates(self, conjunction: Conjunction) -> list[Issuer]:
        """Return the issuers whose certificates can be meant."""
        matcher = next((one for one in conjunction if one.attribute == "issuer"), None)
        names = {pattern.value for pattern in matcher.patterns if isinstance(pattern, Exact)} if matcher else None
        return [issuer for name, issuer in self._issuers.items() if names is None or name in names]

    def _why_none_of(self, issuer: Issuer, conjunction: Conjunction) -> str:
        wanted = list(conjunction)
        if issuer.trust_domain:
            prefix = UriPattern(f"spiffe://{issuer.trust_domain}/**")
            for matcher in wanted:
                if matcher.attribute == "uri_san" and apart(matcher.patterns, (prefix,), generous=(False, False)):
                    return f"certificates of {issuer.name} have one URI, in the trust domain {issuer.trust_domain}"
        if issuer.needs_client_eku:
            for matcher in wanted:
                purposes = {pattern.value for pattern in matcher.patterns if isinstance(pattern, Exact)}
                if matcher.attribute == "eku" and matcher.is_universal and oids.CLIENT_AUTH not in purposes:
                    return f"certificates of {issuer.name} that name purposes must name clientAuth; see `eku: any`"
        for place, matcher in enumerate(wanted):
            for other in wanted[:place]:
                if other.attribute == matcher.attribute and matcher_apart(
                    other, matcher, generous=(False, False), is_single=_is_single(matcher.attribute, [issuer])
                ):
                    return f"no certificate has a value that fits both {_shown(other)} and {_shown(matcher)}"
        return ""

    def is_who_within(self, small: Who | None, big: Who | None, *, generous: tuple[bool, bool]) -> bool:
        """Tell whether everybody whom *small* means is meant by *big*; the polarity of both positions is given."""
        ways = self.alternatives(big)
        return all(any(self._is_way_within(one, way, generous) for way in ways) for one in self.alternatives(small))

    def _is_way_within(self, one: Alternative, big: Alternative, generous: tuple[bool, bool]) -> bool:
        if one is _NOBODY or big is _NOBODY:
            return one is big
        key = (id(one), id(big), *generous)
        known = self._whos.get(key)
        if known is None:
            known = self._whos[key] = one, big, self._is_conjunction_within(one, big, generous)
        return known[2]

    def _is_conjunction_within(self, one: Conjunction, big: Conjunction, generous: tuple[bool, bool]) -> bool:
        issuers = self._candidates(one)
        for wanted in big:
            if wanted.attribute == "issuer":
                names = {pattern.value for pattern in wanted.patterns if isinstance(pattern, Exact)}
                if not all(issuer.name in names for issuer in issuers):
                    return False
            elif not any(
                own.attribute == wanted.attribute
                and matcher_within(
                    own,
                    wanted,
                    small_generous=generous[0],
                    big_generous=generous[1],
                    is_single=_is_single(wanted.attribute, issuers),
                )
                for own in one
            ):
                return False
        return True

    def _are_apart(self, one: Alternative, other: Alternative, generous: tuple[bool, bool]) -> bool:
        if one is _NOBODY or other is _NOBODY:
            return one is not other
        issuers = [issuer for issuer in self._candidates(one) if issuer in self._candidates(other)]
        if not issuers:
            return True
        return any(
            own.attribute == wanted.attribute
            and matcher_apart(own, wanted, generous=generous, is_single=_is_single(own.attribute, issuers))
            for own in one
            for wanted in other
            if own.attribute != "issuer"
        )

    # -- regions -----------------------------------------------------------------------------------------------

    def why_empty(self, region: Region) -> tuple[str, str] | None:
        """Return the key at which a region can't be met, and why; None where nothing tells that it can't."""
        if not self.alternatives(region.who):
            assert region.who is not None
            return "who", self._why_no_one(region.who)
        path, method = (region.columns.get(key) for key in ("path", "method"))
        if path is not None and (why := self._why_no_path(*path)):
            return "path", why
        asterisk = path is not None and all(str(pattern) == r"\*" for pattern in path[0].patterns)
        if asterisk and method is not None and not any(p.matches("OPTIONS", generous=True) for p in method[0].patterns):
            return "method", r"only OPTIONS is sent for the path `\*`"
        host, sni = (region.columns.get(key) for key in ("host", "sni"))
        for key, column in (("host", host), ("sni", sni)):
            if column is not None and self._is_no_name(*column):
                return key, "names of hosts are compared in lower case, and each that this asks for has upper case"
        if host is not None and sni is not None and not self._defaults.allows_sni_mismatch:  # noqa: SIM102 -- two questions
            if apart(host[0].patterns, sni[0].patterns, generous=(False, False)):
                return "sni", "a request whose SNI and Host differ is denied before rules are asked; see `sni_mismatch`"
        return None

    def _why_no_one(self, who: Who) -> str:
        if who.anonymous and not who.identities:
            return "requests without a certificate are denied before rules are asked; see `no_certificate: anonymous`"
        return next(why for one in who.identities for way in one.alternatives if (why := self.why_nobody(way)))

    def _why_no_path(self, matcher: Matcher, generous: bool) -> str:
        has_parameters = not (generous or self._defaults.allows_path_parameters)
        if not all(
            has_parameters and ";" in pattern.source
            if isinstance(pattern, PathPattern)
            else self._is_no_path(pattern, generous)
            for pattern in matcher.patterns
        ):
            return ""
        if any(isinstance(pattern, PathPattern) for pattern in matcher.patterns):
            return "a path with `;` is refused before rules are asked; see `path_parameters: allow`"
        return (
            "no path that rules get to see matches: it starts with `/`, and has no `//`, dot segment or needless escape"
        )

    def _is_no_name(self, matcher: Matcher, generous: bool) -> bool:
        try:
            return not generous and all(
                isinstance(pattern, TextRegex)
                and (language := language_of(pattern, generous=False)) is not None
                and text_within((language, lower_case())) is None
                for pattern in matcher.patterns
            )
        except UndecidedError:
            return False

    def _is_no_path(self, pattern: Pattern, generous: bool) -> bool:
        domain = canonical_paths(generous=True) if generous else self._domain
        language = language_of(pattern, generous=generous)
        try:
            return language is not None and text_within((language, *domain)) is None
        except UndecidedError:
            return False

    def covers(self, big: Region, small: Region) -> bool:
        """Tell whether all of *small* lies in *big*."""
        return not self._uncovered(big, small, 1)

    def _uncovered(self, big: Region, small: Region, most: int) -> list[str]:
        """Return the dimensions in which *small* sticks out of *big*, up to a number of them."""
        found: list[str] = []
        if not self.is_who_within(small.who, big.who, generous=(small.who_generous, big.who_generous)):
            found.append("who")
        for key in big.columns:
            if len(found) >= most:
                break
            if not self._is_column_within(small, key, [big]):
                found.append(key)
        return found

    def _is_column_within(self, small: Region, key: str, bigs: Sequence[Region]) -> bool:
        own = small.columns.get(key)
        if own is None:
            return False
        patterns = tuple(pattern for big in bigs for pattern in big.columns[key][0].patterns)
        generous = all(big.columns[key][1] for big in bigs)
        together = replace(bigs[0].columns[key][0], patterns=patterns)
        domain = self._domain if key == "path" else ()
        return matcher_within(own[0], together, small_generous=own[1], big_generous=generous, domain=domain)

    def covering(self, bigs: Sequence[Region], small: Region) -> list[int]:
        """Return which regions cover *small*: one alone, or several that differ in one dimension; else none."""
        partly: dict[str, list[int]] = {}
        for number, big in enumerate(bigs):
            sticking_out = self._uncovered(big, small, 2)
            if not sticking_out:
                return [number]
            if len(sticking_out) == 1:
                partly.setdefault(sticking_out[0], []).append(number)
        for key, numbers in partly.items():
            needed = [number for number in numbers if not self.apart(bigs[number], small)]
            if len(needed) > 1 and self._is_covered_together(small, key, [bigs[number] for number in needed]):
                return needed
        return []

    def _is_covered_together(self, small: Region, key: str, bigs: Sequence[Region]) -> bool:
        if key != "who":
            return self._is_column_within(small, key, bigs)
        return all(
            any(
                self._is_way_within(one, way, (small.who_generous, big.who_generous))
                for big in bigs
                for way in self.alternatives(big.who)
            )
            for one in self.alternatives(small.who)
        )

    def apart(self, one: Region, other: Region) -> bool:
        """Tell whether no request lies in both."""
        generous = (one.who_generous, other.who_generous)
        ways = self.alternatives(other.who)
        if all(self._are_apart(own, way, generous) for own in self.alternatives(one.who) for way in ways):
            return True
        return any(
            matcher_apart(matcher, other.columns[key][0], generous=(polarity, other.columns[key][1]))
            for key, (matcher, polarity) in one.columns.items()
            if key in other.columns
        )


def _is_single(attribute: str, issuers: Sequence[Issuer]) -> bool:
    """Tell whether a certificate of these issuers has no more than one value of an attribute."""
    if attribute == _CN:
        return not any(issuer.allows_multiple_cn for issuer in issuers)
    if attribute == "uri_san":
        return all(issuer.trust_domain for issuer in issuers)
    return attribute in _SINGLE


def _shown(matcher: Matcher) -> str:
    """Write a matcher as the policy does."""
    return f"`{matcher.key}: {' | '.join(map(str, matcher.patterns))}`"
