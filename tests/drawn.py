"""Policies, certificates and requests drawn by hypothesis over one small vocabulary, so that they meet.

Every condition, every column, `unless`, `require`, shadows, switches and routes are among what is drawn.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from spoa.authorizer import Policy, Subject
from spoa.facts import ABSENT, UNAVAILABLE, Certificate, Request
from spoa.issuers import Issuers
from spoa.listindex import ListIndex, write_index
from spoa.policy.conditions import COLUMNS, IDENTITY_CONDITIONS
from spoa.policy.evaluator import Evaluator
from spoa.policy.gates import certificate_gate, request_values
from spoa.policy.load import load_policies
from spoa.policy.model import Bearer, PolicyModel, RequestValues
from spoa.policy.reading import Report
from tests.policies import NOW, certificate

if TYPE_CHECKING:
    from random import Random

__all__ = [
    "HOLDERS",
    "OPEN",
    "PATTERNS",
    "TIMES",
    "documents",
    "facts_of",
    "identities",
    "model_of",
    "pairs",
    "policy_of",
    "requests",
    "rules",
    "some_of",
    "somebody",
    "something",
    "subjects",
]

ISSUERS = ("corp", "partners")
SWITCHES = ("incident", "audit")
ANSWERS = (True, False)
DIGESTS = ("aa" * 32, "bb" * 32)
PATTERNS: dict[str, list[Any]] = {
    "cn": ["alice", "Alice", "a*", "*-ops", {"re": "(alice|bob).*"}],
    "ou": ["admins", "Admins", "ops", {"all_of": ["admins", "o*"]}, {"any_of": ["dev", "ops"]}, {"re": "[a-z]+"}],
    "o": ["Example", "*"],
    "dns_san": ["*.dev.example", "a.dev.example"],
    "uri_san": ["spiffe://x.example/**", "https://x.example/A/*"],
    "email_san": ["*@x.example", "bob@X.example"],
    "ip_san": ["10.0.0.0/8", "10.0.0.1"],
    "fingerprint": list(DIGESTS),
    "spki": list(DIGESTS),
    "serial": ["1", "ff"],
    "in_list": ["good", "old"],
    "eku": ["clientAuth", "codeSigning"],
    "policy_oid": ["anyPolicy", "1.2.3"],
    "min_key_bits": ["3072", "4096"],
    "path": ["/a/**", "/a/b", "/A", "/*/b", "/**", "\\*", "/a/b/", "/a;x/b", {"re": "/a(/b)?"}, {"re": ".*/b"}],
    "method": ["GET", "read", "write", "get", "PURGE"],
    "host": ["a.example", "*.example", {"re": "[ab]\\.example"}],
    "sni": ["a.example", "*.example"],
    "header": [{"X-Team": "blue"}, {"x-team": ["red", "B*"], "X-Role": "admin"}, {"x-role": {"re": "a.*"}}],
    "source": ["10.0.0.0/8", "2001:db8::/32", "10.0.0.1"],
    "tls": ["TLSv1.3", "TLSv1.2"],
    "time": [
        {"tz": "UTC", "days": "mon-fri", "hours": "08:00-19:00"},
        {"tz": "Europe/Paris", "hours": "22:00-06:00"},
        {"tz": "UTC", "days": ["fri", "sat"]},
    ],
}


def behind(key: str) -> st.SearchStrategy[Any]:
    """Draw what stands behind a key: one pattern, or a list of them."""
    one = st.sampled_from(PATTERNS[key])
    several = st.lists(st.sampled_from([p for p in PATTERNS[key] if not isinstance(p, dict) or "re" in p]), min_size=1)
    return one | several if key not in {"header", "time"} else one | st.lists(one, min_size=1, max_size=2)


@st.composite
def some_of(draw: st.DrawFn, keys: tuple[str, ...], least: int = 1, most: int = 3) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(keys), min_size=least, max_size=most, unique=True))
    return {key: draw(behind(key)) for key in chosen}


@st.composite
def identities(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = draw(some_of(tuple(IDENTITY_CONDITIONS), 0, 2))
    issuers: list[str] = draw(st.lists(st.sampled_from(ISSUERS), min_size=1, max_size=2, unique=True))
    found["issuer"] = issuers if "serial" in found else draw(st.sampled_from([issuers, "any"]))
    if draw(st.booleans()):
        found["subject"] = {"L": draw(st.sampled_from(["Paris", "paris"]))}
    return found


REQUEST = tuple(key for key, column in COLUMNS.items() if column.block == "request")
WHEN = tuple(key for key, column in COLUMNS.items() if column.block == "when")


@st.composite
def whos(draw: st.DrawFn, names: tuple[str, ...]) -> Any:
    words = st.sampled_from((*names, "any_certificate", "anonymous"))
    return draw(words | identities() | st.lists(words | identities(), min_size=1, max_size=3))


@st.composite
def rules(
    draw: st.DrawFn,
    number: int,
    names: tuple[str, ...],
    effects: tuple[str, ...] = ("allow", "allow", "deny", "require"),
) -> dict[str, Any]:
    """Draw one rule; its number becomes its id."""
    effect = draw(st.sampled_from(effects))
    rule: dict[str, Any] = {"id": f"r{number}", "effect": effect}
    if effect == "allow" or draw(st.booleans()):
        rule["who"] = draw(whos(names))
    if effect == "require" or draw(st.booleans()):
        rule["request"] = draw(some_of(REQUEST, 1, 2))
    if draw(st.integers(0, 2)) == 0 or (effect == "require" and "who" not in rule):
        rule["when"] = draw(some_of(WHEN, 1, 2))
    if effect == "deny" and draw(st.booleans()):
        rule["unless"] = draw(some_of((*REQUEST, *WHEN), 0, 2))
        if not rule["unless"] or draw(st.booleans()):
            rule["unless"]["who"] = draw(whos(names))
    if draw(st.integers(0, 4)) == 0:
        rule |= {"mode": "shadow", "shadow_until": "2999-01-01"}
    if draw(st.integers(0, 3)) == 0:
        rule["active_during" if effect == "allow" else "overridable_by"] = draw(st.sampled_from(SWITCHES))
    if effect != "allow" and draw(st.integers(0, 3)) == 0:
        rule |= {"status": draw(st.sampled_from([401, 410])), "reason": draw(st.sampled_from(["no_way", "gone"]))}
    return rule


DEFAULTS = {
    "no_certificate": ["deny", "anonymous"],
    "path_on_ambiguity": ["reject", "normalise"],
    "path_parameters": ["deny", "allow"],
    "sni_mismatch": ["deny", "allow"],
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    named = {f"i{number}": draw(identities()) for number in range(draw(st.integers(0, 3)))}
    names = tuple(named)
    defaults = {
        "mode": draw(st.sampled_from(["enforce", "enforce", "enforce", "shadow"])),
        **{key: draw(st.sampled_from(values)) for key, values in DEFAULTS.items()},
    }
    routes = [
        {"backend": f"b{number}", **({"request": request} if request else {}), **({"who": who} if who else {})}
        for number in range(draw(st.integers(0, 3)))
        for request in [draw(some_of(REQUEST, 0, 1))]
        for who in [draw(st.none() | whos(names))]
    ]
    if names:
        routes.append({"who": list(names), "backend": "named"})  # an identity that nothing uses would be an error
    return {
        "apiVersion": "authz/v1",
        "defaults": defaults,
        "issuers": {name: {"ca": f"{name}.pem", "revocation": {"none": "a test"}} for name in ISSUERS},
        "lists": {"good": {"file": "good.txt"}, "old": {"file": "old.txt"}},
        "break_glass": {name: {"max_duration": "1h", "ticket": "x"} for name in SWITCHES},
        "identities": named,
        "rules": [draw(rules(number, names)) for number in range(draw(st.integers(1, 6)))]
        + draw(st.sampled_from([[], [{"id": "all", "effect": "allow", "who": ["any_certificate", "anonymous"]}]])),
        "routes": routes,
    }


def several(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


def perhaps(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from((*values, UNAVAILABLE))


@st.composite
def subjects(draw: st.DrawFn, *, is_known: bool = False) -> Subject:
    """Draw a certificate; of one that is known nothing is unavailable, as of every real one."""

    def perhaps(*values: Any) -> st.SearchStrategy[Any]:
        return st.sampled_from(values if is_known else (*values, UNAVAILABLE))

    found: Certificate = certificate(
        draw(st.sampled_from(["alice", "Alice", "db-ops", ()])),
        draw(several("admins", "ADMINS", "ops", "dev", "Ｏps")),
        draw(st.sampled_from(["Example", "exAMPLE", ()])),
        subject={"2.5.4.7": values} if (values := draw(several("Paris", "paris"))) else {},
        dns_san=draw(several("a.dev.example", "A.DEV.example", "b.a.dev.example")),
        uri_san=draw(several("spiffe://x.example/a", "https://X.example/a/b", "urn:x")),
        email_san=draw(several("bob@x.example", "BOB@x.example")),
        ip_san=draw(st.sampled_from([(), (bytes((10, 0, 0, 1)),), (bytes((11, 0, 0, 1)), bytes(16))])),
        sha256=draw(perhaps(*map(bytes.fromhex, DIGESTS))),
        spki_sha256=draw(perhaps(*map(bytes.fromhex, DIGESTS))),
        serial=draw(perhaps(1, 255)),
        eku=draw(perhaps(ABSENT, ("1.3.6.1.5.5.7.3.2",), ("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.3"))),
        policy_oids=draw(perhaps(ABSENT, ("1.2.3",), ("2.5.29.32.0", "1.2.3"))),
        **draw(st.sampled_from([{}, {"key_type": "RSA", "key_bits": 2048}, {"key_type": "RSA", "key_bits": 4096}])),
    )
    lists = draw(st.fixed_dictionaries({"good": perhaps(*ANSWERS), "old": perhaps(*ANSWERS)}))
    return Subject(found, draw(st.sampled_from(ISSUERS)), lists)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    headers = {
        name: value
        for name in ("x-team", "x-role")
        if (value := draw(perhaps("blue", "Blue", "red", "admin", ABSENT))) is not UNAVAILABLE
    }
    return Request(
        cert=ABSENT,
        used=False,
        source=draw(perhaps(bytes((10, 0, 0, 1)), bytes((10, 9, 9, 9)), bytes.fromhex("20010db8") + bytes(12))),
        method=draw(perhaps("GET", "get", "POST", "PURGE", "OPTIONS")),
        path=draw(perhaps("/a", "/a/b", "/A/B", "/a/b/", "/x/b", "/%61/b", "/")),
        host=draw(perhaps("a.example", "a.example", "B.example:80", "x.y.example")),
        sni=draw(perhaps("a.example", ABSENT, ABSENT, ABSENT, ABSENT)),
        tls=draw(perhaps("TLSv1.3", "TLSv1.2", "TLSv1.1")),
        headers=headers,
    )


HOLDERS = st.none() | subjects() | subjects() | subjects()
OPEN = st.frozensets(st.sampled_from(SWITCHES))
TIMES = st.sampled_from([NOW, NOW + 12 * 3600, NOW + 86_400, NOW + 2 * 86_400 + 7200])


def model_of(document: dict[str, Any]) -> PolicyModel:
    report = Report()
    model = load_policies({"policy.yaml": json.dumps(document).encode()}, report)
    assert model is not None, [str(problem) for problem in report.problems]
    return model


def policy_of(document: dict[str, Any] | PolicyModel) -> Policy:
    model = document if isinstance(document, PolicyModel) else model_of(document)
    lists = {source.name: ListIndex(write_index({})) for source in model.lists}
    return Policy(Evaluator.of(model), Issuers({}), lists, "0123456789ab")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw two policies: mostly an edit of one, sometimes two that have nothing in common."""
    old: dict[str, Any] = draw(documents())
    if draw(st.integers(0, 3)) == 0:
        return old, draw(documents())
    new: dict[str, Any] = json.loads(json.dumps(old))
    for number in range(draw(st.integers(1, 2))):
        edit = draw(st.sampled_from(["add", "add", "remove", "remove", "defaults"]))
        if edit == "remove" and len(new["rules"]) > 1:
            new["rules"].pop(draw(st.integers(0, len(new["rules"]) - 1)))
        elif edit == "defaults":
            key = draw(st.sampled_from(sorted(DEFAULTS)))
            new["defaults"][key] = draw(st.sampled_from(DEFAULTS[key]))
        else:
            new["rules"].append(draw(rules(50 + number, tuple(new["identities"]))))
    return old, new


# -- by chance --------------------------------------------------------------------------------------------------

CERTIFICATES: dict[str, list[Any]] = {
    "cn": ["alice", "Alice", "a.b", "db-ops", ()],
    "ou": [(), "admins", "ADMINS", ("ops", "dev"), ("admins", "ops")],
    "o": ["Example", "exAMPLE", ()],
    "dns_san": [(), ("a.dev.example",), ("A.DEV.example", "x.example")],
    "uri_san": [(), ("spiffe://x.example/a",), ("https://x.example/A/b",)],
    "email_san": [(), ("bob@x.example",), ("BOB@x.example",)],
    "ip_san": [(), (bytes((10, 0, 0, 1)),), (bytes((11, 0, 0, 1)),)],
    "sha256": [bytes(32), bytes.fromhex("aa" * 32)],
    "spki_sha256": [bytes(32), bytes.fromhex("bb" * 32)],
    "serial": [1, 255, 7],
    "eku": [ABSENT, ("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.3")],
    "policy_oids": [ABSENT, ("1.2.3",)],
    "subject": [{}, {"2.5.4.7": ("Paris",)}, {"2.5.4.7": ("paris",)}],
}
REQUESTS: dict[str, list[Any]] = {
    "source": [
        bytes((10, 0, 0, 1)),
        bytes((10, 9, 9, 9)),
        bytes.fromhex("20010db8") + bytes(12),
        bytes(4),
        UNAVAILABLE,
    ],
    "method": ["GET", "get", "POST", "PURGE", "OPTIONS", UNAVAILABLE],
    "path": [
        "/a",
        "/a/b",
        "/A/B",
        "/a/b/",
        "/x/b",
        "/",
        "/b",
        "/./a",
        "/%61/b",
        "/a//b",
        "/a;x/b",
        "/a/b;x",
        UNAVAILABLE,
    ],
    "host": ["a.example", "b.example", "x.y.example", UNAVAILABLE, UNAVAILABLE],
    "sni": [ABSENT, ABSENT, ABSENT, "a.example", UNAVAILABLE],
    "tls": ["TLSv1.3", "TLSv1.2", "TLSv1.1", UNAVAILABLE],
    "headers": [{}, {"x-team": "blue"}, {"x-team": "Bx", "x-role": "admin"}, {"x-team": "red", "x-role": ABSENT}],
}


def somebody(random: Random) -> Subject:
    """Return a certificate made up by chance: much faster than to draw it."""
    lists = {"good": random.random() < 0.5, "old": random.random() < 0.5}
    said = {key: random.choice(values) for key, values in CERTIFICATES.items()}
    return Subject(certificate(**said), random.choice(["corp", "partners"]), lists)


def something(random: Random) -> Request:
    """Return a request made up by chance."""
    return Request(cert=ABSENT, used=False, **{key: random.choice(values) for key, values in REQUESTS.items()})


def facts_of(
    policy: Policy, subject: Subject | None, request: Request, now: int
) -> tuple[Bearer, RequestValues] | None:
    """Return what rules look at, or None where a gate denies."""
    values = request_values(request, policy.model.defaults, now)
    if not isinstance(values, RequestValues):
        return None
    if subject is None:
        return (Bearer(is_anonymous=True), values) if policy.model.defaults.allows_anonymous else None
    bearer = policy.bearer(subject, now)
    issuer = next(one for one in policy.model.issuers if one.name == subject.issuer)
    return None if certificate_gate(subject.certificate, issuer, bearer) is not None else (bearer, values)
