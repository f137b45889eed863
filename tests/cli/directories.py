"""Policy directories for tests of verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.pki import CA, Issued

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["POLICY", "TESTS", "write_directory"]

POLICY: Final = """\
apiVersion: authz/v1
issuers:
  corp: {ca: trust/ca.pem, revocation: {none: a test}}
break_glass: {incident: {max_duration: 1h, ticket: x}}
identities: {staff: {issuer: corp, ou: staff}}
rules:
  - {id: staff, effect: allow, who: staff, request: {path: "/**"}}
  - {id: admin, effect: require, request: {path: "/admin/**"}, when: {source: 10.0.0.0/8}}
routes: [{backend: main}]
"""
TESTS: Final = """\
apiVersion: authz/v1
kind: tests
certs:
  alice: {issuer: corp, ou: staff}
  real: {pem: alice.pem}
tests:
  - {name: alice reads, cert: alice, request: GET /, expect: allow}
  - {name: the real one too, cert: real, request: GET /, expect: allow}
matrix:
  - {certs: [alice, none], requests: GET /admin, expect: deny}
invariants:
  - {name: admin needs the office, never_allow: {path: "/admin/**", not_source: 10.0.0.0/8}}
"""


def write_directory(directory: Path, policy: str = POLICY, tests: str = TESTS) -> Issued:
    """Write a policy directory with its tests, and return the certificate of Alice, who is staff."""
    ca = CA("Corp CA")
    alice = ca.issue("alice", ["staff"])
    for name, content in {
        "policy.yaml": policy.encode(),
        "trust/ca.pem": ca.pem,
        "tests/t.yaml": tests.encode(),
        "tests/alice.pem": alice.pem,
    }.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return alice
