"""Why a request is allowed or denied: every gate and every rule, with what was seen and what was wanted.

This is the language read naively: rules one after the other, matcher by matcher. It shares no code with the rule
table, whose answers it must always give; so it is also the oracle that the table is tested by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.assurance import denial_for
from spoa.exceptions import CertificateError
from spoa.facts import UNAVAILABLE
from spoa.policy.conditions import COLUMNS
from spoa.policy.gates import CERTIFICATE_GATES, certificate_presence, request_values
from spoa.policy.model import Bearer, Effect, Matcher, Reason
from spoa.transcript import gate_text, seen_text, wanted_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.authorizer import Policy, Subject
    from spoa.facts import Request
    from spoa.policy.model import Conjunction, RequestValues, Rule, Values, Who

__all__ = ["Check", "Explanation", "GateView", "NearestMiss", "Question", "RuleView", "explain", "questions"]

_NOBODY: Final = "no certificate"
_DENY_REASONS: Final = {Effect.DENY: Reason.DENIED_BY_RULE, Effect.REQUIRE: Reason.REQUIREMENT_NOT_MET}
#: Words of `who` that are no identities.
_WORDS: Final = ("any_certificate", "anonymous")


class Question(NamedTuple):
    """One thing that a rule asks.

    Attributes:
        part: `who`, `request`, `when` or `unless`, as the rule is written.
        identity: whose condition it is; empty for an inline identity and for what isn't about certificates.
        alternative: which of the identities behind `who` it belongs to, counted from 0; -1 outside of it.
        key: the key as the policy writes it.
        matcher: what is asked; None for a word of `who`.
        generous: the polarity of its position.
    """

    part: str
    identity: str
    alternative: int
    key: str
    matcher: Matcher | None
    generous: bool

    def ask(self, bearer: Bearer, request: RequestValues) -> Check:
        """Return what was seen, and whether it holds."""
        if self.matcher is None:
            holds = bearer.is_anonymous is (self.key == "anonymous")
            return Check(self, holds, self.key, _NOBODY if bearer.is_anonymous else "a certificate")
        wanted = wanted_text(self.matcher)
        if self.alternative >= 0 and bearer.is_anonymous:
            return Check(self, holds=False, wanted=wanted, seen=_NOBODY)
        values = (bearer if self.alternative >= 0 else request).values.get(self.matcher.attribute, UNAVAILABLE)
        holds = self.matcher.holds(values, generous=self.generous)
        return Check(self, holds, wanted, seen_text(self.matcher, values))


class Check(NamedTuple):
    """The answer to a question: whether it holds, what was wanted and what was seen, in words."""

    question: Question
    holds: bool
    wanted: str
    seen: str


def questions(rule: Rule) -> Iterator[Question]:
    """Yield all that a rule asks, in the order in which it is written."""
    is_require = rule.effect is Effect.REQUIRE
    yield from _who_questions("who", rule.who, generous=rule.effect is Effect.DENY)
    for matcher in (*rule.request, *rule.required):
        block = COLUMNS[matcher.key].block
        generous = rule.effect is Effect.DENY or (is_require and block == "request")
        yield Question(block, "", -1, matcher.key, matcher, generous)
    yield from _who_questions("unless", rule.unless_who, generous=False)
    for matcher in rule.unless or ():
        yield Question("unless", "", -1, matcher.key, matcher, generous=False)


def _who_questions(part: str, who: Who | None, *, generous: bool) -> Iterator[Question]:
    if who is None:
        return
    for word in _WORDS:
        if getattr(who, word):
            yield Question(part, "", -1, word, None, generous)
    alternatives = [
        (identity.name, conjunction) for identity in who.identities for conjunction in identity.alternatives
    ]
    for number, (name, conjunction) in enumerate(alternatives):
        for matcher in conjunction:
            yield Question(part, name, number, matcher.key, matcher, generous)


@dataclass(frozen=True, slots=True)
class GateView:
    """One gate.

    Attributes:
        reason: with which it denies.
        passed: None where it was not asked: an earlier one denied, or there is no certificate to ask about.
        seen: what it looked at, in words; empty where it was not asked.
    """

    reason: Reason
    passed: bool | None
    seen: str


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule as it saw the request.

    Attributes:
        rule: the rule.
        outcome: `allows`, `denies`, `not_met`, `met`, `excepted`, `not_matched` or `not_in_force`.
        applies: what it is about is this request, whatever comes of it.
        checks: all that it asks.
    """

    rule: Rule
    outcome: str
    applies: bool
    checks: tuple[Check, ...]

    @property
    def refuses(self) -> bool:
        """Tell whether it denies."""
        return self.outcome in {"denies", "not_met"}


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """What is least far from an allow: the rule, what would have to be otherwise, and that in a sentence."""

    rule: str
    missing: tuple[Check, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and all that led to it.

    `verdict`, `status`, `reason`, `rule`, `identity`, `route` and `shadow` are those of the decision; `matched` are the
    ids of the rules that matched. `decisive` is the view of the rule that decided, shadow mode or not. `subject` is the
    certificate, `detail` why it can't be read.
    """

    verdict: str
    status: int
    reason: str
    rule: str
    identity: str
    route: str
    shadow: str
    matched: tuple[str, ...]
    gates: tuple[GateView, ...]
    rules: tuple[RuleView, ...] = ()
    decisive: RuleView | None = None
    nearest: NearestMiss | None = None
    subject: Subject | None = None
    detail: str = ""


def explain(
    policy: Policy,
    request: Request,
    now: float,
    *,
    subject: Subject | None = None,
    revocation: str = "good",
    switches: frozenset[str] | None = None,
) -> Explanation:
    """Return why *request* is allowed or denied.

    Args:
        policy: by which it is judged.
        request: as HAProxy described it.
        now: seconds since the epoch.
        subject: stands in for the certificate that `request.cert` would be read as.
        revocation: what every revocation source says.
        switches: break-glass switches taken to be open, in place of the policy's own.
    """
    walk = _Walk(policy, request, int(now), policy.switches if switches is None else switches)
    refusal = walk.gate(subject, revocation)
    gates = tuple(walk.gate_views(refusal, revocation))
    if refusal is not None:
        status = 400 if refusal is Reason.PATH_NOT_CANONICAL else policy.model.defaults.deny_status
        return Explanation(
            verdict="deny",
            status=status,
            reason=str(refusal),
            rule="",
            identity="",
            route="",
            shadow="",
            matched=(),
            gates=gates,
            subject=walk.subject,
            detail=walk.detail,
        )
    return walk.explanation(gates)


#: Gates that `explain` can ask about, in order.
_GATES: Final = tuple(
    reason
    for reason in Reason
    if reason not in {Reason.OK, Reason.NOT_READY, Reason.INTERNAL_ERROR}
    and reason not in {*_DENY_REASONS.values(), Reason.NO_RULE_ALLOWS}
)


_ABOUT_CERTIFICATES: Final = frozenset(_GATES[_GATES.index(Reason.CERTIFICATE_NOT_VERIFIED) :])


class _Walk:
    """One request on its way through gates and rules."""

    def __init__(self, policy: Policy, request: Request, now: int, switches: frozenset[str]) -> None:
        self._policy = policy
        self._model = policy.model
        self._request = request
        self._now = now
        self._switches = switches
        self._bearer = Bearer(is_anonymous=True)
        self._values: RequestValues
        self.subject: Subject | None = None
        self.detail = ""

    # -- gates -------------------------------------------------------------------------------------------------

    def gate(self, subject: Subject | None, revocation: str) -> Reason | None:
        """Return the first gate that the request fails; fill in what rules look at."""
        defaults = self._model.defaults
        presence = None if subject is not None else certificate_presence(self._request, defaults)
        if presence is Reason.MALFORMED_MESSAGE:
            return presence
        values = request_values(self._request, defaults, self._now if self._policy.clock_usable else None)
        if isinstance(values, Reason):
            return values
        self._values = values
        if presence is not None:
            return None if presence is Reason.OK else presence
        if subject is None:
            assert isinstance(self._request.cert, bytes)
            found = self._policy.subject_of(self._request.cert, self._now)
            if isinstance(found, CertificateError):
                self.detail = str(found)
                return Reason.CERTIFICATE_UNPARSABLE
            subject = found
        self.subject = subject
        return self._certificate_gate(subject, revocation)

    def _certificate_gate(self, subject: Subject, revocation: str) -> Reason | None:
        certificate = subject.certificate
        if not self._policy.clock_usable or self._now < certificate.not_before:
            return Reason.CERTIFICATE_NOT_YET_VALID
        if self._now > certificate.not_after:
            return Reason.CERTIFICATE_EXPIRED
        issuer = next((one for one in self._model.issuers if one.name == subject.issuer), None)
        if issuer is None:
            return Reason.ISSUER_UNKNOWN
        self._bearer = self._policy.bearer(subject, self._now)
        for reason, fails in CERTIFICATE_GATES:
            if fails(certificate, issuer, self._bearer):
                return reason
        if self._policy.blocks.blocks_certificate(certificate, issuer.name, self._now)[0]:
            return Reason.CERTIFICATE_BLOCKED
        return denial_for(issuer.revocation, revocation)

    def gate_views(self, refusal: Reason | None, revocation: str) -> Iterator[GateView]:
        """Yield all gates, of which *refusal* was the first to deny."""
        is_asked = True
        for reason in _GATES:
            # An anonymous request passes by what is about certificates.
            asked = is_asked and (reason is refusal or self.subject is not None or reason not in _ABOUT_CERTIFICATES)
            seen = gate_text(reason, self._request, self._now, self.subject, revocation) if asked else ""
            yield GateView(reason, (reason is not refusal) if asked else None, seen)
            is_asked = is_asked and reason is not refusal

    # -- rules -------------------------------------------------------------------------------------------------

    def explanation(self, gates: tuple[GateView, ...]) -> Explanation:
        """Return what the rules say, all gates being passed."""
        views = tuple(self._view(rule) for rule in self._model.rules)
        refusing = [view for view in views if view.refuses]
        allowing = [view for view in views if view.outcome == "allows"]
        enforced = [view for view in refusing if not view.rule.is_shadow]
        granted = [view for view in allowing if not view.rule.is_shadow]
        decisive = next(iter(enforced or granted), None)
        is_allow = decisive is not None and not enforced
        softened = self._model.defaults.is_shadow and not is_allow
        reason, status = self._answer(decisive, is_allow=is_allow or softened)
        return Explanation(
            verdict="allow" if is_allow or softened else "deny",
            status=status,
            reason=reason,
            rule="" if softened or decisive is None else decisive.rule.id,
            identity=next((one.name for one in self._model.identities if one.holds(self._bearer, generous=False)), ""),
            route=self._route() if is_allow or softened else "",
            shadow="deny" if softened or any(view.rule.is_shadow for view in refusing) else "",
            matched=tuple(view.rule.id for view in views if view.refuses or view.outcome == "allows"),
            gates=gates,
            rules=views,
            decisive=decisive,
            nearest=None if is_allow else _nearest(views, enforced, is_granted=bool(granted)),
            subject=self.subject,
        )

    def _answer(self, decisive: RuleView | None, *, is_allow: bool) -> tuple[str, int]:
        if is_allow:
            return str(Reason.OK), 200
        if decisive is None:
            return str(Reason.NO_RULE_ALLOWS), self._model.defaults.deny_status
        rule = decisive.rule
        return rule.reason or str(_DENY_REASONS[rule.effect]), rule.status or self._model.defaults.deny_status

    def _view(self, rule: Rule) -> RuleView:
        generous = rule.effect is not Effect.ALLOW
        who = None if rule.effect is Effect.REQUIRE else rule.who
        applies = self._holds(who, rule.request, generous=generous)
        checks = tuple(question.ask(self._bearer, self._values) for question in questions(rule))
        return RuleView(rule, self._outcome(rule, applies=applies), applies, checks)

    def _outcome(self, rule: Rule, *, applies: bool) -> str:
        if rule.overridable_by in self._switches or (rule.active_during and rule.active_during not in self._switches):
            return "not_in_force"
        if not applies:
            return "not_matched"
        if rule.effect is Effect.ALLOW:
            return "allows"
        if rule.effect is Effect.REQUIRE:
            return "met" if self._holds(rule.who, rule.required, generous=False) else "not_met"
        is_excepted = rule.unless is not None and self._holds(rule.unless_who, rule.unless, generous=False)
        return "excepted" if is_excepted else "denies"

    def _holds(self, who: Who | None, matchers: Conjunction, *, generous: bool) -> bool:
        if who is not None and not who.holds(self._bearer, generous=generous):
            return False
        return all(one.holds(self._seen(one), generous=generous) for one in matchers)

    def _seen(self, matcher: Matcher) -> Values:
        return self._values.values.get(matcher.attribute, UNAVAILABLE)

    def _route(self) -> str:
        found = (route.backend for route in self._model.routes if self._holds(route.who, route.request, generous=False))
        return next(found, "")


# -- the nearest miss -------------------------------------------------------------------------------------------


def _nearest(views: Sequence[RuleView], refusing: Sequence[RuleView], *, is_granted: bool) -> NearestMiss | None:
    """Return what is least far from an allow: among the rules that refuse, or else among those that could allow."""
    is_last = len(refusing) == 1 and is_granted
    candidates: list[NearestMiss] = []
    for view in refusing or views:
        missing = _missing(view)
        if missing is not None and refusing:
            candidates.append(NearestMiss(view.rule.id, missing, _refusal_sentence(view, missing, is_last=is_last)))
        elif missing is not None and view.rule.effect is Effect.ALLOW and not view.rule.is_shadow:
            candidates.append(NearestMiss(view.rule.id, missing, _allow_sentence(view, missing)))
    return min(candidates, key=lambda miss: len(miss.missing), default=None)


def _missing(view: RuleView) -> tuple[Check, ...] | None:
    """Return the fewest checks that would have to hold for the rule not to stand in the way; None when it must."""
    checks = view.checks
    if view.rule.effect is Effect.DENY:
        if view.rule.unless is None:
            return None
        checks = tuple(check for check in checks if check.question.part == "unless")
    elif view.rule.effect is Effect.REQUIRE:
        checks = tuple(check for check in checks if check.question.part != "request")
    plain = [check for check in checks if check.question.alternative < 0 and check.question.key not in _WORDS]
    failing = tuple(check for check in plain if not check.holds)
    return (*_missing_who([check for check in checks if check not in plain]), *failing)


def _missing_who(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the fewest checks of one alternative that fail; none when one of them holds as a whole."""
    alternatives: dict[tuple[int, str], list[Check]] = {}
    for check in checks:
        word = check.question.key if check.question.alternative < 0 else ""
        alternatives.setdefault((check.question.alternative, word), []).append(check)
    missing = [tuple(check for check in several if not check.holds) for several in alternatives.values()]
    return min(missing, key=len, default=())


def _listed(missing: Sequence[Check]) -> str:
    return " and ".join(f"{check.question.key} = {check.wanted}" for check in missing)


def _allow_sentence(view: RuleView, missing: Sequence[Check]) -> str:
    if not missing:
        return f"rule {view.rule.id} would allow while the switch {view.rule.active_during} is open"
    switch = f", while the switch {view.rule.active_during} is open" if view.outcome == "not_in_force" else ""
    return f"would be allowed by {view.rule.id} with {_listed(missing)}{switch}"


def _refusal_sentence(view: RuleView, missing: Sequence[Check], *, is_last: bool) -> str:
    override = f", or while the switch {view.rule.overridable_by} is open" if view.rule.overridable_by else ""
    would = f"would be allowed, since {view.rule.id} alone refuses," if is_last else f"{view.rule.id} would not refuse"
    return f"{would} with {_listed(missing)}{override}"
