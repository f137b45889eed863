"""Certificates that a policy and its invariants tell apart, made up attribute by attribute.

For each issuer the values of one attribute after the other are chosen among its witnesses; of the choices that meet the
same conjunctions so far, one is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from spoa.authorizer import Subject
from spoa.facts import ABSENT
from spoa.policy import oids
from spoa.policy.cases import BLANK
from spoa.policy.gates import certificate_gate
from spoa.policy.model import Bearer
from spoa.policy.table import conjunctions_of
from spoa.policy.witnesses import attribute_witnesses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.authorizer import Policy
    from spoa.facts import Missing
    from spoa.policy.cases import Invariant
    from spoa.policy.model import Conjunction, IdentityPattern, Issuer, Matcher, Values, Who

__all__ = ["Holder", "Specimens"]

#: Different certificates of one issuer that are kept while attributes are combined.
MAX_CERTIFICATES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Holder:
    """One who may send requests: a certificate, or none.

    Attributes:
        subject: the certificate, or None for an anonymous request.
        bearer: as rules see it.
        who: conjunctions of the policy whose `who` it meets.
    """

    subject: Subject | None
    bearer: Bearer
    who: int

    def at(self, now: int) -> Subject | None:
        """Return the certificate, in date at *now*."""
        if self.subject is None:
            return None
        certificate = replace(self.subject.certificate, not_before=now, not_after=now)
        return self.subject._replace(certificate=certificate)


class Specimens:
    """Holders of certificates of every known issuer, and nobody where the policy judges anonymous requests.

    Attributes:
        holders: one of each kind that the policy or an invariant tells apart.
        is_complete: no bound was met on the way.
    """

    def __init__(self, policy: Policy, invariants: Sequence[Invariant]) -> None:
        self.is_complete = True
        self._policy = policy
        self._conjunctions = tuple(_conjunctions(policy, invariants))
        self._matchers: dict[str, list[Matcher]] = {}
        for conjunction in self._conjunctions:
            for matcher in conjunction:
                self._matchers.setdefault(matcher.attribute, []).append(matcher)
        kinds: dict[Any, Holder] = {}
        for holder in self._all():
            kinds.setdefault((holder.who, *(_signature(holder.bearer, one) for one in invariants)), holder)
        self.holders = tuple(kinds.values())

    def _all(self) -> Iterator[Holder]:
        for issuer in self._policy.model.issuers:
            for given in self._of(issuer):
                subject = _subject(issuer.name, given)
                bearer = self._policy.bearer(subject, 0)  # every list that matters is told by the subject
                bearer.values |= {name: values or ABSENT for name, values in given.items()}
                if certificate_gate(subject.certificate, issuer, bearer) is None:
                    yield Holder(subject, bearer, self._policy.evaluator.table.who(bearer))
        if self._policy.model.defaults.allows_anonymous:
            nobody = Bearer(is_anonymous=True)
            yield Holder(None, nobody, self._policy.evaluator.table.who(nobody))

    def _of(self, issuer: Issuer) -> Iterable[dict[str, tuple[Any, ...]]]:
        """Return attribute → values of certificates of one issuer."""
        found: dict[int, tuple[int, dict[str, tuple[Any, ...]]]] = {-1: (0, {"issuer": (issuer.name,)})}
        for attribute, matchers in self._matchers.items():
            answers: dict[int, tuple[Any, ...]] = {}
            for values in self._sets(attribute, matchers, issuer):
                answers.setdefault(self._answer(attribute, values), values)
            onward: dict[int, tuple[int, dict[str, tuple[Any, ...]]]] = {}
            ranked = enumerate(answers.items())
            for (bits, (weight, given)), (rank, (answer, values)) in product(found.items(), ranked):
                # What differs from the plainest certificate in little comes first when there are too many.
                heavier = weight + (len(values) or 1 if rank else 0)
                if (bits & answer) not in onward or heavier < onward[bits & answer][0]:
                    onward[bits & answer] = (heavier, {**given, attribute: values})
            if len(onward) > MAX_CERTIFICATES:
                self.is_complete = False
                onward = dict(sorted(onward.items(), key=lambda item: item[1][0])[:MAX_CERTIFICATES])
            found = onward
        return (given for _, given in found.values())

    def _sets(self, attribute: str, matchers: list[Matcher], issuer: Issuer) -> Iterable[tuple[Any, ...]]:
        """Return the sets of values that an attribute can have in certificates that pass this issuer's gates."""
        if attribute == "issuer":
            return ((issuer.name,),)
        if attribute == "uri_san" and issuer.trust_domain:
            inside = f"spiffe://{issuer.trust_domain}"
            sets = attribute_witnesses(attribute, matchers, is_single=True)
            return ((f"{inside}/stranger",), *(one for one in sets if one and one[0].startswith(inside)))
        if attribute == "eku" and issuer.needs_client_eku:
            return tuple(
                dict.fromkeys(
                    one if not one or oids.CLIENT_AUTH in one else (*one, oids.CLIENT_AUTH)
                    for one in attribute_witnesses(attribute, matchers)
                )
            )
        is_single = attribute == f"subject:{oids.CN}" and not issuer.allows_multiple_cn
        return attribute_witnesses(attribute, matchers, is_single=is_single)

    def _answer(self, attribute: str, given: tuple[Any, ...]) -> int:
        """Return the conjunctions, under either polarity, that these values don't break."""
        values: Values = given or ABSENT
        bits = 0
        for number, conjunction in enumerate(self._conjunctions):
            for generous in (False, True):
                if all(one.holds(values, generous=generous) for one in conjunction if one.attribute == attribute):
                    bits |= 1 << (2 * number + generous)
        return bits


def _signature(bearer: Bearer, invariant: Invariant) -> tuple[bool, ...]:
    excepted = (who.holds(bearer, generous=False) for who, _ in invariant.exceptions)
    return (invariant.forbids_bearer(bearer), *excepted)


def _conjunctions(policy: Policy, invariants: Sequence[Invariant]) -> Iterator[Conjunction]:
    """Yield every conjunction that asks about certificates, of rules and of invariants."""
    whos: list[Who | None] = [who for _, who, _, _ in conjunctions_of(policy.model)]
    for invariant in invariants:
        yield invariant.identity
        whos += [invariant.who, *(who for who, _ in invariant.exceptions)]
    identities: dict[int, IdentityPattern] = {}
    for who in whos:
        for identity in who.identities if who is not None else ():
            identities[id(identity)] = identity
    for identity in identities.values():
        yield from identity.alternatives


def _subject(issuer: str, given: Mapping[str, tuple[Any, ...]]) -> Subject:
    """Return the certificate with these attributes."""
    fields: dict[str, Any] = {"subject": {}}
    lists: Mapping[str, bool | Missing] = {}
    for attribute, values in given.items():
        kind, _, oid = attribute.partition(":")
        if kind == "subject" and values:
            fields["subject"][oid] = values
        elif kind == "lists":
            lists = values[0]
        elif kind in {"dns_san", "uri_san", "email_san", "ip_san"}:
            fields[kind] = values
        elif kind in {"eku", "policy_oids"}:
            fields[kind] = values or ABSENT
        elif kind in {"sha256", "spki_sha256", "serial"}:
            fields[kind] = values[0]
        elif kind == "key_bits":
            fields |= {"key_type": "RSA", "key_bits": values[0]}
    return Subject(replace(BLANK, **fields), issuer, lists)
