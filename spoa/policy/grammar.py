"""The form of policy documents: what may stand where, declared once for the loader and for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spoa.egress import read_permit, read_target
from spoa.policy import oids, schedule
from spoa.policy.automaton import Regex
from spoa.policy.conditions import COLUMNS, IDENTITY_CONDITIONS, Column, IdentityCondition, read_header_name
from spoa.policy.model import STATUSES
from spoa.policy.scalars import Boolean, Choice, Date, Duration, Parsed, Text
from spoa.policy.shapes import AnyOf, ByValue, Field, ListOf, MapOf, Named, OneOrMany, Record, document_schema
from spoa.policy.text import TextPattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.policy.reading import Schema, Shape

__all__ = [
    "API_VERSION",
    "IDENTITY_FIELDS",
    "POLICY",
    "TIME_WINDOW",
    "UNLESS_FIELDS",
    "policy_schema",
    "values_of",
]

API_VERSION: Final = "authz/v1"

_NAME: Final = Text(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a name of letters, digits, `_`, `.` and `-`", max=64)
_FILE: Final = Text(r"[^\x00]+", "a path relative to this document")
_STATUS: Final = Choice({str(status): status for status in STATUSES})
_REASON: Final = Text(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", "a snake_case code such as `read_only_client`", max=64)


def values_of(pattern: Callable[[str], Any], regex: Callable[[str], Any] | None, *, universal: bool = True) -> Shape:
    """Return the shape of what stands behind a key: a pattern, a list, `{re}`, `{any_of}` or `{all_of}`."""
    keyed: dict[str, Shape] = {}
    if regex is not None:
        keyed["re"] = Record({"re": Field(Parsed(regex, "a regular expression"), required=True)})
    item = AnyOf(scalar=Parsed(pattern), keyed=keyed)
    many = ListOf(item)
    lists: dict[str, Shape] = {"any_of": Record({"any_of": Field(many, required=True)})} if universal else {}
    if universal:
        lists["all_of"] = Record({"all_of": Field(many, required=True)})
    return AnyOf(scalar=Parsed(pattern), sequence=many, keyed={**keyed, **lists})


def _condition(row: IdentityCondition | Column, *, universal: bool) -> Field:
    assert row.pattern is not None
    return Field(values_of(row.pattern, row.regex, universal=universal), doc=row.doc)


def _subject_key(text: str) -> str:
    oid = oids.lookup(oids.SUBJECT, text)
    if oid is None:
        raise ValueError(f"write an attribute type as a dotted OID or one of {', '.join(oids.SUBJECT)}")
    return oid


_WINDOW: Final = Record(
    {
        "tz": Field(Parsed(schedule.read_zone, "an IANA time zone"), required=True, doc="IANA time zone."),
        "days": Field(OneOrMany(Parsed(schedule.read_days)), doc="Days on which the window opens: `mon-fri`."),
        "hours": Field(OneOrMany(Parsed(schedule.read_hours)), doc="`HH:MM-HH:MM`, half-open; may cross midnight."),
    },
    at_least_one=("days", "hours"),
    noun="time",
)
TIME_WINDOW: Final = Named("time", OneOrMany(_WINDOW))

_HEADER_VALUES: Final = values_of(TextPattern, COLUMNS["header"].regex, universal=False)
_HEADERS: Final = OneOrMany(MapOf(Parsed(read_header_name), _HEADER_VALUES))

_SPECIAL_COLUMNS: Final[dict[str, Field]] = {
    "header": Field(_HEADERS, doc=COLUMNS["header"].doc),
    "time": Field(TIME_WINDOW, doc=COLUMNS["time"].doc),
}


def _columns(*blocks: str) -> dict[str, Field]:
    return {
        key: _SPECIAL_COLUMNS.get(key) or _condition(row, universal=False)
        for key, row in COLUMNS.items()
        if row.block in blocks
    }


IDENTITY_FIELDS: Final[dict[str, Field]] = {
    "issuer": Field(OneOrMany(_NAME), required=True, doc="Issuer that signed the certificate, or `any`."),
    **{key: _condition(row, universal=True) for key, row in IDENTITY_CONDITIONS.items()},
    "subject": Field(
        MapOf(Parsed(_subject_key), values_of(TextPattern, IDENTITY_CONDITIONS["cn"].regex)),
        doc="Subject attributes by RFC 4514 short name or OID.",
    ),
}
IDENTITY: Final = Named("identity", Record(IDENTITY_FIELDS, noun="identity"))
_IDENTITIES: Final = MapOf(_NAME, AnyOf(mapping=IDENTITY, sequence=ListOf(IDENTITY)), min=0)
_WHO: Final = Named(
    "who", AnyOf(scalar=_NAME, mapping=IDENTITY, sequence=ListOf(AnyOf(scalar=_NAME, mapping=IDENTITY)))
)

_REQUEST_KEYS: Final = _columns("request")
_WHEN_KEYS: Final = _columns("when")
_REQUEST: Final = Named("request", Record(_REQUEST_KEYS, at_least_one=tuple(_REQUEST_KEYS), noun="request"))
_WHEN: Final = Named("when", Record(_WHEN_KEYS, at_least_one=tuple(_WHEN_KEYS), noun="when"))
UNLESS_FIELDS: Final = {**_REQUEST_KEYS, **_WHEN_KEYS, "who": Field(_WHO, doc="Whom the exception is for.")}
_UNLESS: Final = Named("unless", Record(UNLESS_FIELDS, at_least_one=tuple(UNLESS_FIELDS), noun="unless"))

_ANY_RULE: Final[dict[str, Field]] = {
    "id": Field(_NAME, required=True, doc="Unique; returned to HAProxy, logged, counted."),
    "effect": Field(Choice(("allow", "deny", "require")), required=True, doc="What the rule does."),
    "when": Field(_WHEN, doc="Source, time and TLS version."),
    "mode": Field(Choice(("enforce", "shadow")), default="enforce", doc="`shadow`: evaluated and logged only."),
    "shadow_until": Field(Date(), doc="When `check` begins to warn of the shadow; compulsory with it."),
}
_REFUSAL: Final[dict[str, Field]] = {
    "status": Field(_STATUS, doc="HTTP status of the answer; `deny_status` unless given."),
    "reason": Field(_REASON, doc="Snake-case code for the client, in place of the built-in one."),
    "overridable_by": Field(_NAME, doc="Break-glass switch that lifts the rule while it is open."),
}
RULE: Final = ByValue(
    "effect",
    {
        "allow": Record(
            {
                **_ANY_RULE,
                "who": Field(_WHO, required=True, doc="Whom the rule allows."),
                "request": Field(_REQUEST, doc="Which requests; all when left out."),
                "active_during": Field(_NAME, doc="Break-glass switch that arms the rule while it is open."),
            },
            noun="allow",
        ),
        "deny": Record(
            {
                **_ANY_RULE,
                **_REFUSAL,
                "who": Field(_WHO, doc="Whom the rule denies; everyone when left out."),
                "request": Field(_REQUEST, doc="Which requests; all when left out."),
                "unless": Field(_UNLESS, doc="The exception."),
            },
            noun="deny",
        ),
        "require": Record(
            {
                **_ANY_RULE,
                **_REFUSAL,
                "who": Field(_WHO, doc="Who must send these requests."),
                "request": Field(_REQUEST, required=True, doc="The requests for which it must hold."),
            },
            at_least_one=("who", "when"),
            noun="require",
        ),
    },
)

_ROUTE: Final = Record(
    {
        "who": Field(_WHO, doc="Whose requests go there; everyone's when left out."),
        "request": Field(_REQUEST, doc="Which requests go there; all when left out."),
        "when": Field(_WHEN, doc="When they go there."),
        "backend": Field(
            Text(r"[A-Za-z0-9_.:-]+", "the name of a HAProxy backend", max=128),
            required=True,
            doc="HAProxy backend.",
        ),
    },
    noun="route",
)

_MODE: Final = Choice(("deny", "allow"))
_SOURCE_KEYS: Final[dict[str, Field]] = {
    "on_unknown": Field(_MODE, doc="What an unknown certificate means; `deny` unless given."),
    "on_failure": Field(_MODE, doc="What missing or unusable evidence means; `deny` unless given."),
}


def _url(text: str) -> str:
    return read_target(text).url


def _permitted(text: str) -> str:
    read_permit(text)
    return text


_URL: Final = Parsed(_url, "an http or https URL")
_PERMITTED: Final = Parsed(_permitted, "a host, an address or a network")
_CRL: Final = Record(
    {
        "files": Field(OneOrMany(_FILE), doc="CRL files, PEM or DER, or directories of them."),
        "urls": Field(OneOrMany(_URL), doc="Where CRLs are fetched from."),
        "refresh": Field(Duration(min=1), doc="Longest time between looks at a URL."),
        "max_stale": Field(Duration(), doc="How long past nextUpdate a CRL still counts."),
        "idp": Field(
            Choice(("strict", "trust-config")),
            doc="Whether its distribution point must fit; `trust-config` suits a CA with one CRL.",
        ),
        **_SOURCE_KEYS,
    },
    at_least_one=("files", "urls"),
    noun="crl",
)
_OCSP: Final = Record(
    {
        "responder": Field(_URL, doc="The issuer's OCSP responder."),
        "aia": Field(
            Record(
                {
                    "hosts": Field(
                        OneOrMany(Parsed(_permitted, "a host, an address or a network")),
                        required=True,
                        doc="Hosts that may be asked.",
                    )
                }
            ),
            doc="Follow the certificate's own OCSP address, to these hosts only.",
        ),
        "timeout": Field(Duration(min=0.001), doc="Longest time that a first request waits."),
        "stale_grace": Field(Duration(), doc="How long past nextUpdate an answer still counts."),
        "method": Field(Choice(("post", "get")), doc="HTTP method of the question."),
        "nonce": Field(Choice(("off", "send", "require")), doc="Whether a nonce is sent, and must come back."),
        "responder_cert": Field(_FILE, doc="A pinned responder certificate."),
        **_SOURCE_KEYS,
    },
    exactly_one=("responder", "aia"),
    noun="ocsp",
)
REVOCATION: Final = Record(
    {
        "none": Field(Text(), doc="Why revocation is not checked."),
        "crl": Field(_CRL, doc="Revocation lists."),
        "ocsp": Field(_OCSP, doc="Online status."),
        "combine": Field(Choice(("any_revoked", "first_answer")), doc="How several sources are combined."),
        "depth": Field(Choice(("leaf", "chain")), doc="How far up the chain is checked."),
        "max_age_without_next_update": Field(Duration(), doc="How long evidence without nextUpdate counts."),
        "allow_sha1": Field(Boolean(), doc="Accept SHA-1 signatures on evidence."),
        "accept_rollback": Field(Boolean(), doc="Accept a CRL with a lower number than one seen."),
    },
    at_least_one=("none", "crl", "ocsp"),
    noun="revocation",
)
_ISSUER: Final = Record(
    {
        "ca": Field(OneOrMany(_FILE), required=True, doc="Certificates of the CA that signs the clients', PEM or DER."),
        "revocation": Field(REVOCATION, required=True, doc="How revocation is checked, or `none:` and why not."),
        "trust_domain": Field(
            Text(r"[a-z0-9._-]+", "a SPIFFE trust domain such as `prod.example`", max=255),
            doc="SPIFFE trust domain that every certificate must be in.",
        ),
        "max_lifetime": Field(Duration(min=1), doc="Longest time between notBefore and notAfter."),
        "eku": Field(Choice(("client", "any")), default="client", doc="`any` accepts keys not meant for clients."),
        "allow_multiple_cn": Field(Boolean(), default=False, doc="Accept subjects with several CNs."),
        "allow_weak": Field(Boolean(), default=False, doc="Accept weak keys and signatures."),
    },
    noun="issuer",
)

_DEFAULTS: Final = Record(
    {
        "mode": Field(Choice(("enforce", "shadow")), doc="`shadow`: what rules would deny passes, logged and counted."),
        "no_certificate": Field(Choice(("deny", "anonymous")), doc="`anonymous`: rules may then allow such requests."),
        "path_on_ambiguity": Field(Choice(("reject", "normalise")), doc="What happens to a path with two readings."),
        "path_parameters": Field(Choice(("deny", "allow")), doc="Whether `;` may stand in a path."),
        "sni_mismatch": Field(Choice(("deny", "allow")), doc="Whether SNI and Host may differ."),
        "deny_status": Field(_STATUS, doc="HTTP status of a deny that says no other."),
    },
    noun="defaults",
)


def _ticket(text: str) -> str:
    Regex(text)
    return text


_SWITCH: Final = Record(
    {
        "max_duration": Field(Duration(min=1), required=True, doc="Longest time it may stay open at once."),
        "ticket": Field(Parsed(_ticket), required=True, doc="Regular expression that a ticket must match."),
    },
    noun="break_glass",
)

POLICY: Final = Record(
    {
        "apiVersion": Field(Choice((API_VERSION,)), doc="Version of the language."),
        "kind": Field(Choice(("policy",)), doc="May be left out."),
        "metadata": Field(MapOf(_NAME, Text(), min=0), doc="Name, owner and whatever else helps readers."),
        "defaults": Field(_DEFAULTS, doc="What holds unless a rule says otherwise."),
        "issuers": Field(MapOf(_NAME, _ISSUER, min=0), doc="Who signs client certificates."),
        "lists": Field(
            MapOf(
                _NAME,
                Record(
                    {
                        "file": Field(_FILE, required=True, doc="The list, YAML (rich) or text (plain)."),
                        "accept_sha1_until": Field(Date(), doc="Until when SHA-1 entries match."),
                    },
                    noun="list",
                ),
                min=0,
            ),
            doc="Allowlists of certificates.",
        ),
        "identities": Field(_IDENTITIES, doc="Names for whom certificates belong to."),
        "break_glass": Field(MapOf(_NAME, _SWITCH, min=0), doc="Switches that can be opened for a bounded time."),
        "rules": Field(ListOf(RULE, min=0), doc="Order has no meaning."),
        "routes": Field(ListOf(_ROUTE, min=0), doc="Backends for allowed requests; the first match wins."),
    },
    noun="policy",
)


def policy_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a policy document."""
    return document_schema(POLICY, "spoa-authz policy")
