"""Certificates as literals: whoever may send a request, as far as some policies can tell them apart.

A certificate is a choice of who signed it, and for each attribute either a choice among its classes or, where it may
have several values, a set of them. The gates of certificates are literals, too: where the policies lift different ones,
a certificate may pass one policy's and fail another's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.assurance import denial_for
from spoa.authorizer import Subject
from spoa.circumstances import circumstances
from spoa.facts import ABSENT
from spoa.listindex import Kind
from spoa.policy import oids
from spoa.policy.cases import BLANK
from spoa.policy.classes import address_classes, name_classes, text_classes, uri_classes
from spoa.policy.conditions import AtLeast, Exact, effective_key_bits
from spoa.policy.gates import certificate_gate, is_in_trust_domain
from spoa.policy.model import Bearer, Issuer, Reason
from spoa.policy.pivots import meetings
from spoa.policy.table import conjunctions_of
from spoa.solver import FALSE, TRUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from spoa.authorizer import Policy
    from spoa.calls import Calls
    from spoa.circumstances import Circumstance
    from spoa.facts import Certificate, Missing
    from spoa.memberships import Listed, Lists
    from spoa.policy.classes import Classes
    from spoa.policy.model import Conjunction, IdentityPattern, Matcher, Pattern, Who
    from spoa.solver import Circuit

__all__ = ["Caller", "Callers", "certificate_conjunctions"]

_CN: Final = f"subject:{oids.CN}"
#: Of these a certificate has exactly one.
_SINGLE: Final[Mapping[str, object]] = {"sha256": bytes(32), "spki_sha256": bytes(32), "serial": 1}
#: Whatever is no text of these can't be told apart from this.
_STRANGE_OIDS: Final[Mapping[str, str]] = {"eku": "1.3.6.1.5.5.7.3.1", "policy_oids": "2.999"}
#: Kinds and sizes of keys, some of them weak; the first is what a test states unless it says otherwise.
_KEYS: Final = tuple(
    (kind, bits)
    for kind, sizes in {"EC": (256, 384, 521, 224), "ED25519": (256,), "RSA": (2048, 1024), "DSA": (2048,)}.items()
    for bits in sizes
)
_NAMED_BY: Final[Mapping[Kind, str]] = {
    Kind.SHA256: "sha256",
    Kind.SPKI_SHA256: "spki_sha256",
    Kind.SHA1: "sha1",
    Kind.SERIAL: "serial",
}


class Caller(NamedTuple):
    """One who may send requests.

    Attributes:
        subjects: the certificate as each policy sees it; None for an anonymous request.
        written: the certificate as a policy test states it.
        circumstance: what the sources of revocation say.
        is_stated: a policy test can state all of it, for each of the policies.
    """

    subjects: list[Subject | None]
    written: Subject | None
    circumstance: Circumstance
    is_stated: bool

    @property
    def revocation(self) -> dict[str, object]:
        """What a policy test says of revocation: its key, or nothing where that is good or can't be stated."""
        one = self.circumstance
        return {} if one.is_good or one.note else {"revocation": one.states[0]}


class _Attribute(NamedTuple):
    """Classes of values: a literal each, that the certificate has such a value."""

    literals: list[int]
    values: list[Any]


class Callers:
    """All who may send requests that some policies can tell apart.

    Attributes:
        anonymous: literal that holds where there is no certificate.
        missing: attributes of which classes may be missing.
    """

    def __init__(
        self,
        circuit: Circuit,
        policies: Sequence[Policy],
        others: Iterable[Conjunction],
        lists: Lists,
        calls: Calls,
    ) -> None:
        self._circuit = circuit
        self._policies = policies
        self.missing: list[str] = []
        allows = any(policy.model.defaults.allows_anonymous for policy in policies)
        self.anonymous = circuit.flags(1)[0] if allows else FALSE
        self._issuers = [{issuer.name: issuer for issuer in policy.model.issuers} for policy in policies]
        self._signers = _signers(policies)
        self._signed_by = circuit.choice(len(self._signers))
        self._matchers: dict[str, list[Matcher]] = {}
        for conjunction in (*certificate_conjunctions(policies), *others):
            for matcher in conjunction:
                self._matchers.setdefault(matcher.attribute, []).append(matcher)
        self._attributes: dict[str, _Attribute] = {}
        for attribute in self._read():
            self._attributes[attribute] = self._attribute(attribute)
        self._keys = self._make_keys()
        self._lifetimes = self._make_lifetimes()
        self._make_lists(lists, calls)
        self._has_several = {name: self._several(name) for name in (_CN, "uri_san") if name in self._attributes}
        self._circumstances = self._make_circumstances()
        self._meeting: dict[tuple[str, int, bool], int] = {}

    # -- what there is -----------------------------------------------------------------------------------------

    def _settings(self, side: int, signer: tuple[str, ...]) -> Issuer | None:
        return self._issuers[side].get(signer[side])

    def _differs(self, setting: Callable[[Issuer], object]) -> bool:
        """Tell whether a setting of an issuer isn't the same in all policies."""
        return any(
            len({setting(found) for side in range(len(signer)) if (found := self._settings(side, signer))}) > 1
            for signer in self._signers
        )

    def _any_issuer(self, setting: Callable[[Issuer], object]) -> bool:
        return any(setting(issuer) for issuers in self._issuers for issuer in issuers.values())

    def _read(self) -> list[str]:
        """Return the attributes that matter, lists, issuers and keys aside."""
        found = dict.fromkeys(self._matchers)
        if self._any_issuer(lambda issuer: issuer.trust_domain):
            found["uri_san"] = None
        if self._differs(lambda issuer: issuer.needs_client_eku):
            found["eku"] = None
        if self._differs(lambda issuer: issuer.allows_multiple_cn):
            found[_CN] = None
        if "lists" in found:
            found |= dict.fromkeys(_SINGLE)  # or lists would have to guess
        return [attribute for attribute in found if attribute not in {"lists", "issuer", "key_bits"}]

    def _patterns(self, attribute: str) -> list[Pattern]:
        return [pattern for matcher in self._matchers.get(attribute, ()) for pattern in matcher.patterns]

    def _attribute(self, attribute: str) -> _Attribute:
        classes = self._classes(attribute)
        if attribute in _SINGLE:
            return _Attribute(self._circuit.choice(len(classes)), classes)
        return _Attribute(self._circuit.flags(len(classes)), classes)

    def _classes(self, attribute: str) -> list[Any]:
        patterns = self._patterns(attribute)
        if attribute in _SINGLE:
            named = [pattern.value for pattern in patterns if isinstance(pattern, Exact)]
            return [_stranger(_SINGLE[attribute], named), *dict.fromkeys(named)]
        if attribute in _STRANGE_OIDS:
            named = [pattern.value for pattern in patterns if isinstance(pattern, Exact)]
            known = [oids.CLIENT_AUTH] if attribute == "eku" else []
            return list(dict.fromkeys([*known, *named, _strange_oid(_STRANGE_OIDS[attribute], named)]))
        found = self._texts(attribute, patterns)
        if not found.is_complete:
            self.missing.append(attribute)
        return list(found.values)

    def _texts(self, attribute: str, patterns: list[Pattern]) -> Classes:
        if attribute == "uri_san":
            domains = {issuer.trust_domain for issuers in self._issuers for issuer in issuers.values()} - {""}
            return uri_classes(patterns, sorted(domains))
        if attribute in {"dns_san", "email_san"}:
            return name_classes(attribute, patterns)
        return address_classes(patterns) if attribute == "ip_san" else text_classes(patterns)

    def _make_keys(self) -> _Attribute:
        """Return the kinds of keys: one alone where nobody asks, since the gate of weak keys is the same for all."""
        least = [pattern.least for pattern in self._patterns("key_bits") if isinstance(pattern, AtLeast)]
        keys = list(_KEYS[:1])
        if least or self._differs(lambda issuer: issuer.allows_weak):
            edges = [("RSA", bits) for one in least for bits in (one, one - 1) if bits > 0]
            keys = list(dict.fromkeys((*_KEYS, *edges)))
        return _Attribute(self._circuit.choice(len(keys)), keys)

    def _make_lifetimes(self) -> _Attribute:
        """Return lengths of validity, in seconds, on both sides of each limit that isn't the same for all."""
        limits: set[int] = set()
        if self._differs(lambda issuer: issuer.max_lifetime):
            issuers = (issuer for issuers in self._issuers for issuer in issuers.values())
            limits = {int(issuer.max_lifetime) for issuer in issuers if issuer.max_lifetime is not None}
        lengths = [0, *sorted({length for limit in limits for length in (limit, limit + 1)})]
        return _Attribute(self._circuit.choice(len(lengths)), lengths)

    def _make_lists(self, lists: Lists, calls: Calls) -> None:
        """Enter lists: those that all policies have by their names, and by their entries those that differ."""
        named = [name for name in lists.named if name in {str(pattern) for pattern in self._patterns("lists")}]
        self._lists = dict(zip(named, self._circuit.flags(len(named)), strict=True))
        entries = lists.entries
        literals = self._circuit.choice(1 + len(entries))
        for name in lists.changed & self._lists.keys():
            self._circuit.demand((-self._lists[name], literals[0]))
        self._entries = dict(zip(literals[1:], entries, strict=True))
        for literal, entry in self._entries.items():
            self._circuit.demand((-literal, calls.between(entry.first, entry.last)))
            self._demand_named(literal, entry)

    def _demand_named(self, literal: int, entry: Listed) -> None:
        """Demand that the certificate is the one that an entry names."""
        attribute = _NAMED_BY[entry.kind]
        wanted = entry.serial if entry.kind is Kind.SERIAL else entry.digest
        if attribute in self._attributes:
            literals, values = self._attributes[attribute]
            self._circuit.demand((-literal, literals[values.index(wanted) if wanted in values else 0]))
        if entry.issuer:
            signers = zip(self._signed_by, self._signers, strict=True)
            self._circuit.demand((-literal, *(one for one, names in signers if entry.issuer in names)))

    def _on_list(self, side: int, name: str) -> int:
        named = (literal for literal, entry in self._entries.items() if name in entry.members[side])
        return self._circuit.any_of((self._lists.get(name, FALSE), *named))

    def _make_circumstances(self) -> dict[Circumstance, int]:
        """Return what may be said of revocation: the literals of a choice."""
        known = [[self._settings(side, signer) for side in range(len(signer))] for signer in self._signers]
        several = circumstances(known)
        chosen = dict(zip(several, self._circuit.choice(len(several)), strict=True))
        for one, literal in chosen.items():
            if one.signers:
                self._circuit.demand((-literal, *(self._signed_by[number] for number in sorted(one.signers))))
        return chosen

    def _several(self, attribute: str) -> int:
        """Return the literal that holds where an attribute has several values; else it has one at most."""
        literals = self._attributes[attribute].literals
        several: int = self._circuit.flags(1)[0]
        self._circuit.demand((-several, *literals))
        self._circuit.demand_at_most_one(literals, unless=several)
        return several

    # -- gates -------------------------------------------------------------------------------------------------

    def gates(self, side: int) -> Iterator[tuple[Reason, int]]:
        """Yield the gates of certificates, and the literal with which each denies, in their order."""
        if not self._policies[side].model.defaults.allows_anonymous:
            yield Reason.NO_CERTIFICATE, self.anonymous
        for reason, literal in (
            (Reason.ISSUER_UNKNOWN, self._signed(side, lambda issuer: issuer is None)),
            (Reason.CERTIFICATE_TOO_LONG_LIVED, self._is_too_long_lived(side)),
            (Reason.WEAK_KEY, self._is_weak(side)),
            (Reason.NOT_A_CLIENT_CERTIFICATE, self._is_not_for_clients(side)),
            (Reason.AMBIGUOUS_SUBJECT, self._is_ambiguous(side)),
            (Reason.UNSAFE_ATTRIBUTE, self._is_outside_domain(side)),
        ):
            yield reason, self._circuit.all_of((-self.anonymous, literal))
        for one, literal in self._circumstances.items():
            for reason, signed in self._denials(side, one.states[side]).items():
                yield reason, self._circuit.all_of((-self.anonymous, literal, self._circuit.any_of(signed)))

    def _signed(self, side: int, holds: Callable[[Issuer | None], object]) -> int:
        """Return the literal that holds where the signer is one of whom something holds."""
        signers = zip(self._signed_by, self._signers, strict=True)
        return self._circuit.any_of(one for one, signer in signers if holds(self._settings(side, signer)))

    def _signed_in(self, side: int, domain: str) -> int:
        return self._signed(side, lambda issuer: issuer is not None and issuer.trust_domain == domain)

    def _denials(self, side: int, state: str) -> dict[Reason, list[int]]:
        found: dict[Reason, list[int]] = {}
        for literal, signer in zip(self._signed_by, self._signers, strict=True):
            issuer = self._settings(side, signer)
            reason = None if issuer is None else denial_for(issuer.revocation, state)
            if reason is not None:
                found.setdefault(reason, []).append(literal)
        return found

    def _is_too_long_lived(self, side: int) -> int:
        def minds(length: int) -> int:
            return self._signed(side, lambda issuer: issuer is not None and length > (issuer.max_lifetime or length))

        lengths = zip(*self._lifetimes, strict=True)
        return self._circuit.any_of(self._circuit.all_of((literal, minds(length))) for literal, length in lengths)

    def _is_weak(self, side: int) -> int:
        strict = Issuer("", ())
        weak = (
            literal
            for literal, (kind, bits) in zip(*self._keys, strict=True)
            if certificate_gate(replace(BLANK, key_type=kind, key_bits=bits), strict, Bearer()) is Reason.WEAK_KEY
        )
        minds = self._signed(side, lambda issuer: issuer is not None and not issuer.allows_weak)
        return self._circuit.all_of((minds, self._circuit.any_of(weak)))

    def _is_not_for_clients(self, side: int) -> int:
        if "eku" not in self._attributes:
            return FALSE
        literals, values = self._attributes["eku"]
        is_client = literals[values.index(oids.CLIENT_AUTH)]
        minds = self._signed(side, lambda issuer: issuer is not None and issuer.needs_client_eku)
        return self._circuit.all_of((minds, -is_client, self._circuit.any_of(literals)))

    def _is_ambiguous(self, side: int) -> int:
        minds = self._signed(side, lambda issuer: issuer is not None and not issuer.allows_multiple_cn)
        return self._circuit.all_of((minds, self._has_several.get(_CN, FALSE)))

    def _is_outside_domain(self, side: int) -> int:
        outside = []
        for domain in {issuer.trust_domain for issuer in self._issuers[side].values()} - {""}:
            literals, values = self._attributes["uri_san"]
            inside = (one for one, uri in zip(literals, values, strict=True) if is_in_trust_domain(uri, domain))
            is_inside = self._circuit.all_of((self._circuit.any_of(inside), -self._has_several["uri_san"]))
            outside.append(self._circuit.all_of((self._signed_in(side, domain), -is_inside)))
        return self._circuit.any_of(outside)

    # -- what is asked -----------------------------------------------------------------------------------------

    def who(self, side: int, who: Who | None, *, generous: bool) -> int:
        """Return the literal that holds where the caller is among those meant; everybody where none are named."""
        if who is None:
            return TRUE
        named = (self._identity(side, one, generous=generous) for one in who.identities)
        is_certified = TRUE if who.any_certificate else self._circuit.any_of(named)
        parts = [self._circuit.all_of((-self.anonymous, is_certified))]
        return self._circuit.any_of([*parts, self.anonymous] if who.anonymous else parts)

    def _identity(self, side: int, identity: IdentityPattern, *, generous: bool) -> int:
        return self._circuit.any_of(
            self.conjunction(side, alternative, generous=generous) for alternative in identity.alternatives
        )

    def conjunction(self, side: int, matchers: Conjunction, *, generous: bool) -> int:
        """Return the literal that holds where a certificate, if there is one, meets all the matchers."""
        return self._circuit.all_of(self._holds(side, one, generous=generous) for one in matchers)

    def _holds(self, side: int, matcher: Matcher, *, generous: bool) -> int:
        if matcher.attribute == "issuer":
            signers = zip(self._signed_by, self._signers, strict=True)
            return self._circuit.any_of(
                one for one, names in signers if matcher.holds((names[side],), generous=generous)
            )
        if matcher.attribute == "lists":
            return self._circuit.any_of(self._on_list(side, str(pattern)) for pattern in matcher.patterns)
        key = (matcher.attribute, id(matcher), generous)
        if key not in self._meeting:
            self._ask_all(matcher.attribute)
        return self._meeting[key]

    def _ask_all(self, attribute: str) -> None:
        """Ask every matcher of an attribute about all its classes, under both polarities."""
        different = {id(one): one for one in self._matchers[attribute]}
        matchers = [(one, generous) for one in different.values() for generous in (False, True)]
        literals, values = self._keys if attribute == "key_bits" else self._attributes[attribute]
        seen = [effective_key_bits(*key) for key in values] if attribute == "key_bits" else values
        for (matcher, generous), places in zip(matchers, meetings(matchers, seen), strict=True):
            met = {literals[place] for place in places}
            holds = self._circuit.any_of(met)
            if matcher.is_universal:
                holds = self._circuit.all_of((holds, *(-literal for literal in literals if literal not in met)))
            self._meeting[attribute, id(matcher), generous] = holds

    # -- what was found ----------------------------------------------------------------------------------------

    def wishes(self) -> Iterator[int]:
        """Yield literals that make a certificate plainer, the more important ones first."""
        yield -self.anonymous
        yield from (-several for several in self._has_several.values())
        yield from self._circuit.preferences(list(self._circumstances.values()))
        for literals in (self._signed_by, self._keys.literals, self._lifetimes.literals):
            yield from self._circuit.preferences(literals)
        for attribute, (literals, values) in self._attributes.items():
            if attribute in _SINGLE:
                yield from self._circuit.preferences(literals)
            else:
                held = zip(reversed(literals), reversed(values), strict=True)  # the plainest stand first
                yield from (-literal for literal, value in held if value != oids.CLIENT_AUTH)
        yield from (-literal for literal in (*self._lists.values(), *self._entries))

    def found(self, now: int) -> Caller:
        """Return the caller that was found last, with a certificate in date at *now*."""
        circumstance = next(one for one, literal in self._circumstances.items() if self._circuit.holds(literal))
        if self._circuit.holds(self.anonymous):
            return Caller([None] * len(self._policies), None, next(iter(self._circumstances)), is_stated=True)
        signer = self._signers[next(n for n, one in enumerate(self._signed_by) if self._circuit.holds(one))]
        entry = next((entry for literal, entry in self._entries.items() if self._circuit.holds(literal)), None)
        lifetime = next(length for one, length in zip(*self._lifetimes, strict=True) if self._circuit.holds(one))
        certificate = replace(self._certificate(entry), not_before=now, not_after=now + lifetime)
        flagged: dict[str, bool | Missing] = {name: self._circuit.holds(one) for name, one in self._lists.items()}
        subjects: list[Subject | None] = []
        for side, name in enumerate(signer):
            listed_on = dict.fromkeys(entry.members[side], True) if entry is not None else {}
            known = {source.name: False for source in self._policies[side].model.lists}
            subjects.append(Subject(certificate, name, {**known, **flagged, **listed_on}))
        written = Subject(certificate, next(name for name in reversed(signer) if name), flagged)
        is_stated = (
            len(set(signer)) == 1
            and not (lifetime or circumstance.note)
            and (entry is None or entry.kind is not Kind.SHA1)
        )
        return Caller(subjects, written, circumstance, is_stated)

    def _certificate(self, entry: Listed | None) -> Certificate:
        fields: dict[str, Any] = {"subject": {}}
        for attribute, (literals, values) in self._attributes.items():
            held = tuple(value for one, value in zip(literals, values, strict=True) if self._circuit.holds(one))
            if len(held) == 1 and self._circuit.holds(self._has_several.get(attribute, FALSE)):
                held *= 2
            kind, _, oid = attribute.partition(":")
            if kind == "subject":
                fields["subject"] |= {oid: held} if held else {}
            elif attribute in _SINGLE:
                fields[attribute] = held[0]
            else:
                fields[attribute] = held if attribute not in _STRANGE_OIDS else held or ABSENT
        if entry is not None:
            fields[_NAMED_BY[entry.kind]] = entry.serial if entry.kind is Kind.SERIAL else entry.digest
        kind, bits = next(key for literal, key in zip(*self._keys, strict=True) if self._circuit.holds(literal))
        return replace(BLANK, key_type=kind, key_bits=bits, **fields)


def _signers(policies: Sequence[Policy]) -> list[tuple[str, ...]]:
    """Return who may have signed a certificate, by the name that each policy has for them; empty where it has none.

    Issuers are the same where a CA certificate is; without any, where the name is.
    """
    names: dict[object, list[str]] = {}
    for side, policy in enumerate(policies):
        for issuer in policy.model.issuers:
            for authority in policy.issuers.certificates(issuer.name) or (issuer.name,):
                names.setdefault(authority, [""] * len(policies))[side] = issuer.name
    return list(dict.fromkeys(map(tuple, names.values()))) or [("",) * len(policies)]


def certificate_conjunctions(policies: Iterable[Policy]) -> Iterator[Conjunction]:
    """Yield every conjunction of the policies that asks about certificates."""
    for policy in policies:
        for _, who, _, _ in conjunctions_of(policy.model):
            for identity in who.identities if who is not None else ():
                yield from identity.alternatives


def _stranger(first: Any, named: Iterable[object]) -> Any:
    """Return a digest or number that nobody names."""
    taken = set(named)
    while first in taken:
        first = first + 1 if isinstance(first, int) else (int.from_bytes(first) + 1).to_bytes(len(first))
    return first


def _strange_oid(first: str, named: Iterable[object]) -> str:
    taken = {oids.CLIENT_AUTH, *named}
    return next(oid for oid in (first, *(f"2.999.{n}" for n in range(len(taken) + 1))) if oid not in taken)
