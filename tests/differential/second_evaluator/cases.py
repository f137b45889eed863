"""The tests that a policy brings along, `tests/*.yaml`: read, and judged."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.differential.second_evaluator.identities import SUBJECT_KEYS, as_list
from tests.differential.second_evaluator.judging import judge
from tests.differential.second_evaluator.lists import digest, serial_number
from tests.differential.second_evaluator.loading import Policy, keys_of, refuse_unless
from tests.differential.second_evaluator.times import instant
from tests.differential.second_evaluator.words import MISSING, NULL, UNKNOWN, Certificate, Request, Verdict, World
from tests.differential.second_evaluator.yaml_text import read_yaml

GIVEN = {"cert", "request", "host", "source", "sni", "tls", "headers", "now", "open", "revocation"}
EXPECTED = {"expect", "rule", "reason", "status", "route", "shadow"}
CERT_KEYS = {
    *{"issuer", "cn", "ou", "o", "subject", "dns_san", "uri_san", "email_san", "ip_san"},
    *{"fingerprint", "spki", "serial", "eku", "policy_oid"},
}
STATES = {"good", "revoked", "unknown", "stale", "unreachable", "not_loaded", "undetermined"}


@dataclass(frozen=True)
class Outcome:
    """A test, and whether what came out is what was expected."""

    name: str
    passed: bool
    verdict: Verdict


def run_cases(policy: Policy, directory: Path) -> list[Outcome]:
    """Run the tests and the matrices of a policy directory.

    Raises:
        RefusedError: a file isn't one of tests.
    """
    outcomes = []
    for path in sorted((directory / "tests").glob("*.yaml")):
        document = keys_of(
            read_yaml(path.read_bytes()),
            {"apiVersion", "kind", "now", "certs", "tests", "matrix", "invariants"},
            "tests",
        )
        refuse_unless(document.get("apiVersion") == "authz/v1" and document.get("kind") == "tests", "no tests")
        document.setdefault("certs", {})
        tests = [keys_of(test, {*GIVEN, *EXPECTED, "name"}, "test") for test in document.get("tests", [])]
        outcomes += [run_test(policy, document, test) for test in tests]
        for matrix in document.get("matrix", []):
            outcomes += run_matrix(policy, document, matrix)
    return outcomes


def judge_test(policy: Policy, document: dict[str, Any], test: dict[str, Any]) -> Verdict:
    """Judge what a test describes."""
    refuse_unless("cert" in test, "cert is compulsory")
    refuse_unless(test["cert"] == "none" or test["cert"] in document["certs"], f"no such certificate: {test['cert']}")
    world = world_from_test(test, document.get("now"))
    certificate = None
    if test["cert"] != "none":
        certificate = certificate_from_map(document["certs"][test["cert"]], policy)
        certificate = replace(certificate, not_before=world.now, not_after=world.now)  # in date, and not for too long
    return judge(policy, request_from_test(test, certificate), world)


def run_test(policy: Policy, document: dict[str, Any], test: dict[str, Any]) -> Outcome:
    """Run one test."""
    refuse_unless("expect" in test, "expect is compulsory")
    verdict = judge_test(policy, document, test)
    seen = {
        "expect": verdict.verdict,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "status": str(verdict.status),
        "route": verdict.route,
        "shadow": verdict.shadow,
    }
    return Outcome(test.get("name", ""), all(seen[key] == test[key] for key in EXPECTED & set(test)), verdict)


def run_matrix(policy: Policy, document: dict[str, Any], node: Any) -> list[Outcome]:
    """Run every certificate against every request."""
    matrix = keys_of(node, {*GIVEN - {"cert", "request"}, "certs", "requests", "expect"}, "matrix")
    shared = {key: value for key, value in matrix.items() if key in GIVEN}
    outcomes = []
    for cert in as_list(matrix["certs"]):
        expected = matrix["expect"][cert] if isinstance(matrix["expect"], dict) else matrix["expect"]
        for request in as_list(matrix["requests"]):
            test = {**shared, "name": f"matrix/{cert}/{request}", "cert": cert, "request": request, "expect": expected}
            outcomes.append(run_test(policy, document, test))
    return outcomes


def texts(node: Any) -> tuple[str, ...]:
    """One value or several."""
    return tuple(node) if isinstance(node, list) else (node,)


def certificate_from_map(node: Any, policy: Policy) -> Certificate:
    """Read a certificate given as a map.

    "a certificate given as a map is in date, for clients, P-256; subject and SAN attributes that the map leaves out are
    absent (fingerprint, spki, serial, eku, policy_oid are unavailable)".
    """
    given = keys_of(node, CERT_KEYS, "certificate")
    refuse_unless(given.get("issuer") in policy.issuers, f"no such issuer: {given.get('issuer')}")
    subject = [(SUBJECT_KEYS[key], value) for key in SUBJECT_KEYS if key in given for value in texts(given[key])]
    subject += [(name, value) for name, values in given.get("subject", {}).items() for value in texts(values)]
    return Certificate(
        issuer=given["issuer"],
        subject=tuple(subject),
        dns_san=texts(given.get("dns_san", [])),
        uri_san=texts(given.get("uri_san", [])),
        email_san=texts(given.get("email_san", [])),
        ip_san=texts(given.get("ip_san", [])),
        fingerprint=digest(given["fingerprint"], 64) if "fingerprint" in given else UNKNOWN,
        spki=digest(given["spki"], 64) if "spki" in given else UNKNOWN,
        serial=serial_number(given["serial"]) if "serial" in given else UNKNOWN,
        eku=texts(given["eku"]) if "eku" in given else UNKNOWN,
        policy_oid=texts(given["policy_oid"]) if "policy_oid" in given else UNKNOWN,
    )


def request_from_test(test: dict[str, Any], certificate: Certificate | None) -> Request:
    """The request of a test: "what isn't given is unavailable, except: `sni` is absent"."""
    method: Any = MISSING
    path: Any = MISSING
    if "request" in test:
        method, _, path = test["request"].partition(" ")
        path = path.split("?", 1)[0]
        if path == "*":
            path = NULL
    return Request(
        cert=NULL if certificate is None else certificate,
        used=certificate is not None,
        verify=0,
        src=test.get("source", MISSING),
        method=method,
        path=path,
        host=test.get("host", MISSING),
        sni=test.get("sni", NULL),
        tls=test.get("tls", MISSING),
        headers={name.lower(): value for name, value in test.get("headers", {}).items()},
    )


def world_from_test(test: dict[str, Any], file_now: Any) -> World:
    """Time, switches and revocation of a test."""
    state = test.get("revocation", "good")
    refuse_unless(state in STATES, f"no state: {state!r}")
    by_hand = state == "revoked"
    said = "good" if by_hand else state
    return World(
        now=instant(test.get("now", file_now)),
        open=frozenset(texts(test["open"])) if "open" in test else frozenset(),
        ocsp=said,
        crl=said,
        revoked_by_hand=by_hand,
    )
