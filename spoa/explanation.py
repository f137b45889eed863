"""Why a request is allowed or denied: every gate and every rule, with what was seen and what was wanted.

This is the language read naively: rules one after the other, matcher by matcher. It shares no code with the rule
table, whose answers it must always give; so it is also the oracle that the table is tested by.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spoa.assurance import NOT_CHECKED, denial_for
from spoa.exceptions import CertificateError
from spoa.facts import UNAVAILABLE
from spoa.nearest import NearestMiss, nearest_miss
from spoa.policy.gates import CERTIFICATE_GATES, certificate_presence, request_values
from spoa.policy.model import Bearer, Effect, Reason, RequestValues
from spoa.policy.path import canonical_path
from spoa.policy.witnesses import path_witnesses, witnesses
from spoa.questions import Check, Question, RuleView, questions
from spoa.transcript import gate_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.assurance import Assured
    from spoa.authorizer import Policy, Subject
    from spoa.facts import Request
    from spoa.policy.model import Conjunction, Issuer, Matcher, Rule, Values, Who

__all__ = ["Check", "Explanation", "GateView", "NearestMiss", "Question", "RuleView", "explain", "questions"]

_DENY_REASONS: Final = {Effect.DENY: Reason.DENIED_BY_RULE, Effect.REQUIRE: Reason.REQUIREMENT_NOT_MET}


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
class Explanation:
    """A decision and all that led to it.

    `verdict`, `status`, `reason`, `rule`, `identity`, `route` and `shadow` are those of the decision; `matched` are the
    ids of the rules that matched. `decisive` is the view of the rule that decided, shadow mode or not. `subject` is the
    certificate, `detail` why it can't be read. `revocation` is the state that was judged, empty where none was asked;
    `assured` what the evidence says, where that was asked.
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
    revocation: str = ""
    assured: Assured | None = None


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
        revocation: what every revocation source says; an empty text has the policy's evidence judged, as for `judge`.
        switches: break-glass switches taken to be open, in place of the policy's own.
    """
    walk = _Walk(policy, request, int(now), policy.switches if switches is None else switches, revocation)
    refusal = walk.gate(subject)
    gates = tuple(walk.gate_views(refusal))
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
            revocation=walk.revocation,
            assured=walk.assured,
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

    def __init__(self, policy: Policy, request: Request, now: int, switches: frozenset[str], revocation: str) -> None:
        self._policy = policy
        self._model = policy.model
        self._request = request
        self._now = now
        self.switches = switches
        self.bearer = Bearer(is_anonymous=True)
        self.values: RequestValues
        self.subject: Subject | None = None
        self.detail = ""
        self._told = revocation
        self.revocation = ""
        self.assured: Assured | None = None

    # -- gates -------------------------------------------------------------------------------------------------

    def gate(self, subject: Subject | None) -> Reason | None:
        """Return the first gate that the request fails; fill in what rules look at."""
        defaults = self._model.defaults
        presence = None if subject is not None else certificate_presence(self._request, defaults)
        if presence is Reason.MALFORMED_MESSAGE:
            return presence
        values = request_values(self._request, defaults, self._now if self._policy.clock_usable else None)
        if isinstance(values, Reason):
            return values
        self.values = values
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
        return self._certificate_gate(subject)

    def _certificate_gate(self, subject: Subject) -> Reason | None:
        certificate = subject.certificate
        if not self._policy.clock_usable or self._now < certificate.not_before:
            return Reason.CERTIFICATE_NOT_YET_VALID
        if self._now > certificate.not_after:
            return Reason.CERTIFICATE_EXPIRED
        issuer = next((one for one in self._model.issuers if one.name == subject.issuer), None)
        if issuer is None:
            return Reason.ISSUER_UNKNOWN
        self.bearer = self._policy.bearer(subject, self._now)
        for reason, fails in CERTIFICATE_GATES:
            if fails(certificate, issuer, self.bearer):
                return reason
        if self._policy.blocks.blocks_certificate(certificate, issuer.name, self._now)[0]:
            return Reason.CERTIFICATE_BLOCKED
        return self._revocation_gate(issuer)

    def _revocation_gate(self, issuer: Issuer) -> Reason | None:
        # To be good, as whoever says nothing else means, is more than anybody asked of this issuer.
        is_unasked = self._told == "good" and not issuer.revocation.is_checked
        self.revocation = NOT_CHECKED if is_unasked else self._told or NOT_CHECKED
        if self._told or not issuer.revocation.is_checked:
            return denial_for(issuer.revocation, self._told) if self._told else None
        der = self._request.cert
        authority = self._policy.issuers.authority_of(der) if isinstance(der, bytes) else None
        if authority is None:
            self.revocation = "not_loaded"
            return Reason.REVOCATION_NOT_LOADED  # a certificate given as what it says has nothing to be looked up by
        assert isinstance(der, bytes)
        self.assured = self._policy.assurance.of(der, authority.der, issuer, self._now)
        assert self.assured is not None
        self.revocation = self.assured.state
        return self.assured.denial

    def gate_views(self, refusal: Reason | None) -> Iterator[GateView]:
        """Yield all gates, of which *refusal* was the first to deny."""
        is_asked = True
        for reason in _GATES:
            # An anonymous request passes by what is about certificates.
            asked = is_asked and (reason is refusal or self.subject is not None or reason not in _ABOUT_CERTIFICATES)
            seen = gate_text(reason, self._request, self._now, self.subject, self._seen_revocation()) if asked else ""
            yield GateView(reason, (reason is not refusal) if asked else None, seen)
            is_asked = is_asked and reason is not refusal

    def _seen_revocation(self) -> str:
        detail = "" if self.assured is None else self.assured.detail
        return f"{self.revocation} ({detail})" if detail and detail != self.revocation else self.revocation

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
            identity=next((one.name for one in self._model.identities if one.holds(self.bearer, generous=False)), ""),
            route=self._route() if is_allow or softened else "",
            shadow="deny" if softened or any(view.rule.is_shadow for view in refusing) else "",
            matched=tuple(view.rule.id for view in views if view.refuses or view.outcome == "allows"),
            gates=gates,
            rules=views,
            decisive=decisive,
            nearest=None
            if is_allow
            else nearest_miss(views, enforced, is_granted=bool(granted), trial=self._would_be_allowed),
            subject=self.subject,
            revocation=self.revocation,
            assured=self.assured,
        )

    # -- what if -----------------------------------------------------------------------------------------------

    def _would_be_allowed(self, missing: Sequence[Check], switches: frozenset[str]) -> bool | None:
        """Tell whether the rules allow once these checks hold and switches are open; None where nobody can tell."""
        other = copy.copy(self)
        other.switches = self.switches | switches
        other.bearer = Bearer(dict(self.bearer.values), self.bearer.is_anonymous)
        other.values = RequestValues(dict(self.values.values))
        for check in missing:
            matcher = check.question.matcher
            is_who = check.question.alternative >= 0
            if matcher is None or (is_who and self.bearer.is_anonymous):
                return None
            values = other.bearer.values if is_who else other.values.values
            changed = _meeting(matcher, values.get(matcher.attribute, UNAVAILABLE), self._now)
            if changed is None:
                return None
            values[matcher.attribute] = changed
        outcomes = [(rule, other.outcome_of(rule)) for rule in self._model.rules if not rule.is_shadow]
        is_granted = any(outcome == "allows" for _, outcome in outcomes)
        return is_granted and not any(outcome in {"denies", "not_met"} for _, outcome in outcomes)

    def outcome_of(self, rule: Rule) -> str:
        """Return what comes of one rule."""
        who = None if rule.effect is Effect.REQUIRE else rule.who
        return self._outcome(rule, applies=self._holds(who, rule.request, generous=rule.effect is not Effect.ALLOW))

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
        checks = tuple(question.ask(self.bearer, self.values) for question in questions(rule))
        return RuleView(rule, self._outcome(rule, applies=applies), applies, checks)

    def _outcome(self, rule: Rule, *, applies: bool) -> str:
        if rule.overridable_by in self.switches or (rule.active_during and rule.active_during not in self.switches):
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
        if who is not None and not who.holds(self.bearer, generous=generous):
            return False
        return all(one.holds(self._seen(one), generous=generous) for one in matchers)

    def _seen(self, matcher: Matcher) -> Values:
        return self.values.values.get(matcher.attribute, UNAVAILABLE)

    def _route(self) -> str:
        found = (route.backend for route in self._model.routes if self._holds(route.who, route.request, generous=False))
        return next(found, "")


#: Attributes of which a certificate may have several values: one more is a smaller change than another one.
_SEVERAL: Final = ("subject:", "dns_san", "uri_san", "email_san", "ip_san", "eku", "policy_oids")


def _meeting(matcher: Matcher, values: Values, now: int) -> Values | None:
    """Return values that meet a matcher, as like those given as may be; None where none can be made up."""
    for pattern in matcher.patterns:
        for value in _examples(matcher, pattern, values, now):
            is_added = isinstance(values, tuple) and not matcher.is_universal and matcher.attribute.startswith(_SEVERAL)
            changed: Values = (*values, value) if is_added and isinstance(values, tuple) else (value,)
            if matcher.holds(changed, generous=False):
                return changed
    return None


#: Words for several methods → those, the most harmless first.
_METHODS: Final = {"read": ("GET", "HEAD", "OPTIONS"), "write": ("POST", "PUT", "PATCH", "DELETE")}


def _header(matcher: Matcher, now: int) -> str | None:
    """Return a value of one header that meets what is asked of it; None where none can be made up."""
    texts = (text for pattern in matcher.patterns for text in witnesses(pattern, now))
    return next((text for text in texts if matcher.holds((text,), generous=False)), None)


def _examples(matcher: Matcher, pattern: Any, values: Values, now: int) -> Iterator[Any]:
    if matcher.attribute == "path":
        yield from filter(None, map(canonical_path, path_witnesses([pattern])))
    elif matcher.attribute == "lists":
        known: Any = values[0] if isinstance(values, tuple) else {}
        yield {**known, str(pattern): True}
    elif matcher.attribute == "header":
        sent: dict[str, Any] = dict(values[0]) if isinstance(values, tuple) else {}  # type: ignore[call-overload] # as the column has it
        yield sent | {one.attribute: text for one in pattern.matchers if (text := _header(one, now)) is not None}
    elif matcher.attribute == "method":
        yield from _METHODS.get(str(pattern), (str(pattern),))
    else:
        yield from witnesses(pattern, now)
