"""The words of a policy and of a verdict."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from spoa.policy.holding import identity_holds, matcher_holds, who_holds

if TYPE_CHECKING:
    from spoa.facts import Missing

__all__ = [
    "RULE_REASONS",
    "SOFT_REASONS",
    "STATUSES",
    "Bearer",
    "CrlSource",
    "Defaults",
    "Effect",
    "IdentityPattern",
    "Issuer",
    "ListSource",
    "Matcher",
    "OcspSource",
    "Pattern",
    "PolicyModel",
    "Reason",
    "RequestValues",
    "Revocation",
    "Route",
    "Rule",
    "Switch",
    "Values",
    "Who",
]

#: What an attribute holds: its values, or why there are none.
Values: TypeAlias = "tuple[object, ...] | Missing"

#: The HTTP statuses that a deny may carry.
STATUSES: Final = (400, 401, 403, 404, 405, 410, 429, 503)


class Effect(enum.StrEnum):
    """What a rule does with the requests that it matches."""

    ALLOW = "allow"
    DENY = "deny"
    REQUIRE = "require"


class Reason(enum.StrEnum):
    """The closed list of reasons, in the order in which gates are asked; rules may bring their own beside it."""

    OK = "ok"
    MALFORMED_MESSAGE = "malformed_message"
    NOT_READY = "not_ready"
    PATH_NOT_CANONICAL = "path_not_canonical"
    SNI_MISMATCH = "sni_mismatch"
    NO_CERTIFICATE = "no_certificate"
    CERTIFICATE_UNAVAILABLE = "certificate_unavailable"
    CERTIFICATE_NOT_VERIFIED = "certificate_not_verified"
    CERTIFICATE_UNPARSABLE = "certificate_unparsable"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_EXPIRED = "certificate_expired"
    ISSUER_UNKNOWN = "issuer_unknown"
    CERTIFICATE_TOO_LONG_LIVED = "certificate_too_long_lived"
    WEAK_KEY = "weak_key"
    NOT_A_CLIENT_CERTIFICATE = "not_a_client_certificate"
    AMBIGUOUS_SUBJECT = "ambiguous_subject"
    UNSAFE_ATTRIBUTE = "unsafe_attribute"
    CERTIFICATE_BLOCKED = "certificate_blocked"
    CERTIFICATE_REVOKED = "certificate_revoked"
    REVOCATION_UNKNOWN = "revocation_unknown"
    REVOCATION_STALE = "revocation_stale"
    REVOCATION_UNREACHABLE = "revocation_unreachable"
    REVOCATION_NOT_LOADED = "revocation_not_loaded"
    REVOCATION_UNDETERMINED = "revocation_undetermined"
    DENIED_BY_RULE = "denied_by_rule"
    REQUIREMENT_NOT_MET = "requirement_not_met"
    NO_RULE_ALLOWS = "no_rule_allows"
    INTERNAL_ERROR = "internal_error"


#: Reasons that a rule's own `reason` may take the place of.
RULE_REASONS: Final = frozenset({Reason.DENIED_BY_RULE, Reason.REQUIREMENT_NOT_MET})
#: Reasons of the rules, which shadow mode softens; all others are gates and errors.
SOFT_REASONS: Final = RULE_REASONS | {Reason.NO_RULE_ALLOWS}


class Pattern(Protocol):
    """What a value is held against."""

    def matches(self, value: Any, *, generous: bool) -> bool:
        """Tell whether *value*, of the attribute's own type, matches under the given polarity."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Matcher:
    """The patterns written behind one key, and how many of an attribute's values they must meet.

    Attributes:
        key: the key as the policy writes it, for explanations.
        attribute: the attribute that is looked at; see `conditions`.
        patterns: any of them suffices for a value.
        is_universal: every value must meet one of the patterns (`all_of`), and there must be a value.
    """

    key: str
    attribute: str
    patterns: tuple[Pattern, ...]
    is_universal: bool = False

    def holds(self, values: Values, *, generous: bool) -> bool:
        """Tell whether the attribute's values meet the patterns; the unavailable meets them only generously."""
        return matcher_holds(self, values, generous=generous)


#: Matchers that must all hold.
Conjunction: TypeAlias = tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class IdentityPattern:
    """Whom a certificate may belong to: alternatives, each a conjunction. `name` is empty for an inline one."""

    name: str
    alternatives: tuple[Conjunction, ...]

    def holds(self, bearer: Bearer, *, generous: bool) -> bool:
        """Tell whether the bearer of a certificate is meant."""
        return identity_holds(self, bearer, generous=generous)


@dataclass(frozen=True, slots=True)
class Who:
    """The `who` of a rule: identities (any), everyone with a certificate, everyone without."""

    identities: tuple[IdentityPattern, ...] = ()
    any_certificate: bool = False
    anonymous: bool = False

    def holds(self, bearer: Bearer, *, generous: bool) -> bool:
        """Tell whether the bearer is among them."""
        return who_holds(self, bearer, generous=generous)


@dataclass(slots=True)
class Bearer:
    """Whoever sent the request, as rules see them.

    Attributes:
        values: attribute → values, of the attributes that the policy reads; one that is not there is unavailable.
        is_anonymous: there is no certificate, and the policy lets such requests be judged.
    """

    values: dict[str, Values] = field(default_factory=dict)
    is_anonymous: bool = False


@dataclass(slots=True)
class RequestValues:
    """A request's attributes as rules see them, each judged canonical before.

    Attributes:
        values: column → values; see `conditions.COLUMNS`. One that is not there is unavailable.
    """

    values: dict[str, Values]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: unique.
        effect: what it does.
        who: on allow and deny whom it matches; on require who is required. None when left out.
        request: matchers of `request`, and on allow and deny of `when`.
        required: on require, the matchers of `when`, which must hold together with `who`.
        unless: on deny, alternatives to it: matchers that must all hold, and `unless_who`.
        status, reason: of a deny.
        is_shadow: evaluated and logged only, until someone changes it; `shadow_until` is when `check` begins to warn.
        overridable_by, active_during: names of break-glass switches.
        position: `file:line` of the rule, for explanations.
    """

    id: str
    effect: Effect
    who: Who | None = None
    request: Conjunction = ()
    required: Conjunction = ()
    unless: Conjunction | None = None
    unless_who: Who | None = None
    status: int = 403
    reason: str = ""
    is_shadow: bool = False
    shadow_until: int | None = None
    overridable_by: str = ""
    active_during: str = ""
    position: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A backend for the allowed requests that match; the first that matches wins."""

    backend: str
    who: Who | None = None
    request: Conjunction = ()
    position: str = ""


@dataclass(frozen=True, slots=True)
class Defaults:
    """The `defaults` of a policy; every path a request can take is closed unless it says otherwise."""

    is_shadow: bool = False
    allows_anonymous: bool = False
    normalises_path: bool = False
    allows_path_parameters: bool = False
    allows_sni_mismatch: bool = False
    deny_status: int = 403


@dataclass(frozen=True, slots=True)
class CrlSource:
    """Where an issuer's revocation lists come from, and what the lack of an answer means. Times in seconds.

    Attributes:
        files: files and directories, relative to the policy directory.
        urls: where lists are fetched from.
        refresh: at most so long between two looks at a URL.
        max_stale: so long past its nextUpdate a list still counts.
        trusts_configuration: a list counts though its distribution point is none that the certificate names.
        allows_unknown, allows_failure: `on_unknown` and `on_failure` are `allow`.
    """

    files: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    refresh: int = 300
    max_stale: int = 0
    trusts_configuration: bool = False
    allows_unknown: bool = False
    allows_failure: bool = False


@dataclass(frozen=True, slots=True)
class OcspSource:
    """Whom to ask about a certificate, how, and what the lack of an answer means. Times in seconds.

    Attributes:
        responder: the URL that is asked about every certificate; empty where the certificate names it.
        aia_hosts: `HOST[:PORT]`, addresses and networks that a certificate may name; empty with `responder`.
        timeout: so long a request waits for an answer about a certificate that nothing is known of.
        stale_grace: so long past its nextUpdate an answer still counts.
        uses_get: questions go in the URL where it stays short enough.
        nonce: `off`, `send` or `require`.
        responder_cert: file with the pinned responder's certificate, relative to the policy directory; empty for none.
        pinned: the certificates in it, as DER.
        allows_unknown, allows_failure: `on_unknown` and `on_failure` are `allow`.
    """

    responder: str = ""
    aia_hosts: tuple[str, ...] = ()
    timeout: float = 0.3
    stale_grace: int = 0
    uses_get: bool = False
    nonce: str = "off"
    responder_cert: str = ""
    pinned: tuple[bytes, ...] = ()
    allows_unknown: bool = False
    allows_failure: bool = False


@dataclass(frozen=True, slots=True)
class Revocation:
    """How an issuer's certificates are checked for revocation.

    Attributes:
        none: the reason why they aren't; empty where they are.
        crl: the source of revocation lists; None for none.
        ocsp: the responder to ask; None for none.
        combine: `any_revoked` or `first_answer`.
        is_chain: the issuers above are checked too (`depth: chain`).
        max_age_without_next_update: seconds that evidence without nextUpdate counts; None for the default.
        allows_sha1: signatures on evidence may use SHA-1.
        accepts_rollback: a list may follow one with a higher number.
    """

    none: str = ""
    crl: CrlSource | None = None
    ocsp: OcspSource | None = None
    combine: str = "any_revoked"
    is_chain: bool = False
    max_age_without_next_update: int | None = None
    allows_sha1: bool = False
    accepts_rollback: bool = False

    @property
    def is_checked(self) -> bool:
        """Some source is asked."""
        return self.crl is not None or self.ocsp is not None


@dataclass(frozen=True, slots=True)
class Issuer:
    """One certification authority, and how its certificates are judged.

    Attributes:
        name: as the policy names it.
        ca: files with its certificates, relative to the policy directory.
        trust_domain: SPIFFE trust domain of every certificate; empty for none.
        max_lifetime: seconds between notBefore and notAfter; None for any.
        needs_client_eku: an extended key usage must name clientAuth.
        allows_multiple_cn, allows_weak: lift the gates of these names.
        revocation: how revocation is checked.
    """

    name: str
    ca: tuple[str, ...]
    trust_domain: str = ""
    max_lifetime: float | None = None
    needs_client_eku: bool = True
    allows_multiple_cn: bool = False
    allows_weak: bool = False
    revocation: Revocation = field(default_factory=Revocation)


@dataclass(frozen=True, slots=True)
class ListSource:
    """A named list: its file, relative to the policy directory, and until when SHA-1 entries match."""

    name: str
    file: str
    accept_sha1_until: int | None = None
    position: tuple[str, int, int] = ("", 0, 0)


@dataclass(frozen=True, slots=True)
class Switch:
    """A break-glass switch: how long it may stay open at most (seconds), and what a ticket looks like."""

    name: str
    max_duration: float
    ticket: str


@dataclass(frozen=True, slots=True)
class PolicyModel:
    """A whole policy, every name resolved.

    `identities` holds the named ones in file order; rules refer to the same objects.
    """

    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]
    identities: tuple[IdentityPattern, ...]
    issuers: tuple[Issuer, ...]
    lists: tuple[ListSource, ...]
    switches: tuple[Switch, ...] = ()
    defaults: Defaults = Defaults()
