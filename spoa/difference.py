"""What changes from one policy to another: every kind of request that is answered differently, each shown by one.

Both policies are literals over the same world (`verdicts`). Whatever is allowed by one only is looked for; what is
found is judged by both policies themselves, and then everything that the same two rules decide is set aside, until
nothing is left. That nothing is left is proved, not sampled; where a bound was met on the way, the findings say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from spoa.circumstances import moved_sources
from spoa.policy import oids
from spoa.policy.model import Effect
from spoa.solver import FALSE, TRUE
from spoa.transcript import keys_of_test
from spoa.verdicts import Verdict, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.authorizer import Policy
    from spoa.memberships import Listings
    from spoa.policy.decision import Decision
    from spoa.verdicts import Occasion

__all__ = ["Change", "Difference", "compare"]

#: Conflicts that the solver may meet for one question.
PATIENCE: Final = 1_000_000
#: Changes that are told.
MAX_CHANGES: Final = 1_000

Tag = Literal["newly_allowed", "newly_denied"]


class Change(NamedTuple):
    """Requests that two policies answer differently, all by the same two rules.

    Attributes:
        tag: which of the two answers is new.
        rule: the rule behind it: the one that allows now, the one that denies now, or, where none does either any more,
            the one that allowed before; empty where shadow mode or a gate is behind it.
        before, after: the two decisions on the witness.
        witness: keys of a policy test.
        note: what of the witness no policy test can state; empty where one can.
    """

    tag: Tag
    rule: str
    before: Decision
    after: Decision
    witness: dict[str, object]
    note: str


class Rerouted(NamedTuple):
    """Requests that both policies allow and send to different backends.

    Attributes:
        before, after: the two backends; empty where no route takes them.
        witness: keys of a policy test.
        note: what of the witness no policy test can state; empty where one can.
    """

    before: str
    after: str
    witness: dict[str, object]
    note: str


@dataclass(slots=True)
class Difference:
    """All changes.

    Attributes:
        changes: newly allowed first.
        rerouted: what is allowed as before, and sent elsewhere.
        notes: what is answered otherwise for certificates that no CA should issue, how refusals are answered otherwise,
            and what has other bounds or sources.
        findings: why something may be missing; empty where nothing is.
    """

    changes: list[Change] = field(default_factory=list)
    rerouted: list[Rerouted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def count(self, tag: Tag) -> int:
        """Return how many changes have this tag."""
        return sum(change.tag == tag for change in self.changes)


def compare(
    old: Policy, new: Policy, now: int, *, listings: Sequence[Listings] = (), patience: int = PATIENCE
) -> Difference:
    """Return what is answered differently by *new*.

    Args:
        old: the policy that is in force.
        new: the policy that is to take its place.
        now: from when on, seconds since the epoch.
        listings: what the lists of both hold; left out, a list is known by its name alone.
        patience: conflicts that the solver may meet for one question before it gives up, and says so.
    """
    world = World((old, new), now, listings=listings)
    notes = [*_reading(old, new, "no longer"), *_reading(new, old, "now"), *_answering(old, new), *_bounds(old, new)]
    difference = Difference(notes=[*notes, *moved_sources(old.model.issuers, new.model.issuers)])
    for what in dict.fromkeys(world.missing):
        message = f"patterns of {what} overlap in more ways than are looked at; changes that need others may be missing"
        difference.findings.append(message)
    search = _Search(world, difference, patience)
    search.run()
    world.circuit.close()
    return difference


def _reading(reader: Policy, other: Policy, when: str) -> Iterator[str]:
    """Yield the attributes of text that one policy reads and the other doesn't: a gate refuses strange characters."""
    for attribute in sorted(reader.evaluator.attributes - other.evaluator.attributes):
        kind, _, oid = attribute.partition(":")
        if kind in {"subject", "dns_san", "uri_san", "email_san"}:
            name = f"subject attribute {oids.name_of(oid)}" if oid else kind
            yield f"{name} is {when} read, so that control characters in it are {when} refused"


def _answering(old: Policy, new: Policy) -> Iterator[str]:
    """Yield which rules and defaults refuse with another status or reason."""
    before, after = old.model.defaults.deny_status, new.model.defaults.deny_status
    if before != after:
        yield f"what no rule gives another status is refused with {after} instead of {before}"
    known = {rule.id: rule for rule in old.model.rules}
    for rule in new.model.rules:
        was = known.get(rule.id, rule)
        if rule.effect is Effect.ALLOW or was.effect is Effect.ALLOW:
            continue
        one, other = was.status or before, rule.status or after
        if one != other and (was.status or rule.status):
            yield f"{rule.id} refuses with the status {other} instead of {one}"
        if was.reason != rule.reason:
            yield f"{rule.id} refuses with {rule.reason or 'no reason of its own'} instead of {was.reason or 'that'}"


def _bounds(old: Policy, new: Policy) -> Iterator[str]:
    """Yield which break-glass switches may be opened otherwise."""
    known = {switch.name: switch for switch in old.model.switches}
    for switch in new.model.switches:
        was = known.get(switch.name, switch)
        if was.max_duration != switch.max_duration:
            longest = f"{switch.max_duration:g} s instead of {was.max_duration:g} s"
            yield f"the switch {switch.name} may be open for {longest}"
        if was.ticket != switch.ticket:
            yield f"a ticket for the switch {switch.name} looks like {switch.ticket!r} instead of {was.ticket!r}"


class _Search:
    def __init__(self, world: World, difference: Difference, patience: int) -> None:
        self._world = world
        self._difference = difference
        self._patience = patience
        self._sides = (Verdict(world, 0), Verdict(world, 1))

    def run(self) -> None:
        old, new = self._sides
        stated = self._world.calls.is_stated
        for tag, wanted in (("newly_allowed", (new.allows, -old.allows)), ("newly_denied", (old.allows, -new.allows))):
            for request in (stated, TRUE):
                for change in self._changes(tag, (*wanted, request)):  # type: ignore[arg-type] # one of the two tags
                    if len(self._difference.changes) == MAX_CHANGES:
                        self._difference.findings.append(f"there are more than {MAX_CHANGES} changes")
                        return
                    self._difference.changes.append(change)
        self._search_routes()

    def _changes(self, tag: Tag, wanted: tuple[int, ...]) -> Iterator[Change]:
        circuit = self._world.circuit
        while found := circuit.can_hold(wanted, self._patience):
            decided = self._world.judged(self._world.found())
            same = [side.outcome(decision) for side, decision in zip(self._sides, decided, strict=True)]
            self._world.make_plain((*wanted, *same), self._patience)
            occasion = self._world.found()
            before, after = self._world.judged(occasion)
            assert [_told(before), _told(after)] == [*map(_told, decided)], "circuit and policy judge differently"
            yield _change(tag, occasion, before, after)
            circuit.demand(-literal for literal in same)
        if found is None:
            self._difference.findings.append(f"the search for what is {tag.replace('_', ' ')} was given up")

    def _search_routes(self) -> None:
        """Look for what both allow and send to different backends, each pair of backends once."""
        circuit = self._world.circuit
        old, new = (side.routes for side in self._sides)
        elsewhere = (circuit.all_of((literal, -new.get(backend, FALSE))) for backend, literal in old.items())
        allowed = [side.allows for side in self._sides]
        wanted = (*allowed, circuit.any_of(list(elsewhere)))
        while found := circuit.can_hold(wanted, self._patience):
            before, after = (decision.route for decision in self._world.judged(self._world.found()))
            same = (old[before], new[after])
            self._world.make_plain((*wanted, *same), self._patience)
            occasion = self._world.found()
            witness = {**_witness(occasion), "expect": "allow", "route": after}
            self._difference.rerouted.append(Rerouted(before, after, witness, _note(occasion)))
            circuit.demand((-same[0], -same[1], *(-literal for literal in allowed)))
        if found is None:
            self._difference.findings.append("the search for what goes to another backend was given up")


def _told(decision: Decision) -> tuple[str, str, str]:
    return decision.verdict, decision.log_reason, decision.log_rule


def _change(tag: Tag, occasion: Occasion, before: Decision, after: Decision) -> Change:
    witness = {**_witness(occasion), "expect": after.verdict}
    rule = after.log_rule or before.log_rule if tag == "newly_denied" else after.rule
    return Change(tag, rule, before, after, witness, _note(occasion))


def _witness(occasion: Occasion) -> dict[str, object]:
    caller = occasion.caller
    keys = keys_of_test(occasion.request, occasion.now, subject=caller.written, switches=occasion.switches)
    return {**keys, **caller.revocation}


def _note(occasion: Occasion) -> str:
    """Say what of an occasion no policy test can state; nothing where one can state it all."""
    if occasion.is_stated:
        return ""
    if occasion.caller.circumstance.note:
        return occasion.caller.circumstance.note
    names = {subject.issuer for subject in occasion.caller.subjects if subject is not None}
    if len(names) > 1:
        return "the CA certificate is another: " + " → ".join(
            subject.issuer or "unknown" for subject in occasion.caller.subjects if subject is not None
        )
    if occasion.caller.is_stated:
        return "an argument is not sent, or a header is absent, which no test can state"
    written = occasion.caller.written
    assert written is not None
    seconds = written.certificate.not_after - written.certificate.not_before
    if seconds:
        return f"the certificate is valid for {seconds} seconds in all, which no test can state"
    return "the certificate is known by its SHA-1 only, which no test can state"
