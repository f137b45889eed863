"""The tests that a made-up policy brings along, with what the second evaluator expects of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.differential.drawn_certificates import EMAILS, TEXTS
from tests.differential.drawn_policies import HOSTS, METHODS
from tests.differential.drawn_requests import SOURCES, STATES
from tests.differential.second_evaluator.cases import judge_test

if TYPE_CHECKING:
    from tests.differential.drawn_certificates import Draw
    from tests.differential.second_evaluator.loading import Policy

__all__ = ["document", "with_one_wrong"]

PATHS: Final = (
    "/",
    "/admin",
    "/admin/users",
    "/api/v1/",
    "/Admin",
    "/caf%c3%a9",
    "/admin?x=/api",
    "*",
    "/a//b",
    "/%61",
    "/x/../admin",
)
NOWS: Final = ("2026-11-20T10:00:00+01:00", "2026-11-20T09:00:00Z", "2027-06-01T00:00:00Z", "2026-11-21T02:30:00+01:00")


def _certificate(draw: Draw, issuers: tuple[str, ...]) -> dict[str, Any]:
    kinds: dict[str, Any] = {
        "cn": lambda: draw.choice(TEXTS),
        "ou": lambda: draw.choices(TEXTS, k=draw.randint(1, 3)),
        "o": lambda: draw.choice(TEXTS),
        "dns_san": lambda: draw.choice(("a.example", "x.a.example", "A.EXAMPLE")),
        "uri_san": lambda: draw.choice(("spiffe://prod.example/ns/a/sa/b", "https://prod.example/ns/a")),
        "email_san": lambda: [draw.choice(EMAILS[6:9])],
        "ip_san": lambda: draw.choice(("10.0.0.1", "2001:db8::1")),
        "fingerprint": lambda: draw.choice(("aa", "bb")) * 32,
        "spki": lambda: draw.choice(("aa", "bb")) * 32,
        "serial": lambda: draw.choice(("1", "ff")),
        "eku": lambda: draw.choice(("clientAuth", "codeSigning")),
        "policy_oid": lambda: draw.choice(("1.2.3", "1.2.3.4")),
    }
    return {"issuer": draw.choice(issuers), **{key: make() for key, make in kinds.items() if draw.often(0.35)}}


def _test(draw: Draw, certs: dict[str, Any], switches: list[str], number: int) -> dict[str, Any]:
    test: dict[str, Any] = {
        "name": f"test {number}",
        "cert": draw.choice((*certs, "none")),
        "request": f"{draw.choice(METHODS)} {draw.choice(PATHS)}",
    }
    more: dict[str, Any] = {
        "host": lambda: draw.choice((HOSTS[0], HOSTS[1], "x.a.example", "A.example:443")),
        "source": lambda: draw.choice(SOURCES),
        "tls": lambda: draw.choice(("TLSv1.2", "TLSv1.3")),
        "headers": lambda: {"X-Team": draw.choice(TEXTS[:12])},
        "now": lambda: draw.choice(NOWS),
        "revocation": lambda: draw.choice(STATES),
    }
    test |= {key: make() for key, make in more.items() if draw.often(0.4)}
    if draw.often(0.2):
        test["sni"] = draw.choice(("a.example", "b.example"))
    if switches and draw.often(0.4):
        test["open"] = draw.sample(switches, k=1)
    return test


def document(draw: Draw, policy: Policy) -> dict[str, Any]:
    """Make up tests whose expectations are what the second evaluator says."""
    certs = {f"c{number}": _certificate(draw, tuple(policy.issuers)) for number in range(3)}
    found: dict[str, Any] = {"apiVersion": "authz/v1", "kind": "tests", "now": NOWS[0], "certs": certs, "tests": []}
    for number in range(12):
        test = _test(draw, certs, sorted(policy.switches), number)
        verdict = judge_test(policy, found, test)
        test["expect"] = verdict.verdict
        said = {"rule": verdict.rule, "reason": verdict.reason, "route": verdict.route}
        test |= {key: value for key, value in said.items() if value and draw.often(0.7)}
        if verdict.status is not None and draw.often(0.7):
            test["status"] = str(verdict.status)
        found["tests"].append(test)
    used = {test["cert"] for test in found["tests"]}
    found["certs"] = {name: cert for name, cert in certs.items() if name in used}
    return found


def with_one_wrong(draw: Draw, tests: dict[str, Any]) -> dict[str, Any]:
    """Expect something else in one place."""
    wrong = draw.randrange(len(tests["tests"]))
    changed = [dict(test) for test in tests["tests"]]
    key = draw.choice(sorted({"expect", "rule", "reason", "route", "status"} & set(changed[wrong])))
    others = {"expect": ("allow", "deny"), "status": ("401", "410"), "reason": ("weak_key", "no_certificate")}
    wanted = others.get(key, ("elsewhere",))
    changed[wrong][key] = next(value for value in wanted if value != changed[wrong][key])
    return {**tests, "tests": changed}
