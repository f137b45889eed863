"""The form of policy documents: what may stand where, and the JSON Schema of it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from spoa.policy.conditions import COLUMNS, IDENTITY_CONDITIONS
from spoa.policy.document import read_document
from spoa.policy.grammar import API_VERSION, IDENTITY_FIELDS, POLICY, UNLESS_FIELDS, policy_schema, values_of
from spoa.policy.reading import INVALID, Report
from spoa.policy.text import TextPattern

SCHEMA = policy_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def read(text: str) -> tuple[Any, Report]:
    node, found = read_document(text.encode(), "f.yaml")
    report = Report()
    report.add(*found)
    assert node is not None
    return POLICY.read(node, report, ""), report


def accepted(text: str) -> bool:
    reading, report = read(text)
    return reading is not INVALID and not report.errors


#: Documents that are well formed, whatever the names in them mean.
RIGHT = [
    "apiVersion: authz/v1",
    "{apiVersion: authz/v1, kind: policy, metadata: {name: a, owner: b, anything: c}}",
    "rules: []",
    "rules: [{id: a, effect: allow, who: a}]",
    "rules: [{id: a, effect: allow, who: [a, any_certificate, {issuer: b, cn: c}]}]",
    "rules: [{id: a, effect: allow, who: {issuer: [b, c], cn: {re: 'x.*'}}}]",
    "rules: [{id: a, effect: deny}]",
    "rules: [{id: a, effect: deny, status: 405, reason: a_b, overridable_by: s}]",
    "rules: [{id: a, effect: deny, unless: {who: x, path: /a, method: GET, source: 10.0.0.0/8, tls: TLSv1.3}}]",
    "rules: [{id: a, effect: require, request: {path: /a}, who: x, when: {source: [10.0.0.1, '::1']}}]",
    "rules: [{id: a, effect: deny, request: {path: [/a, {re: /b.*}], method: [read, POST], host: '*.a', sni: b.c}}]",
    "rules: [{id: a, effect: deny, request: {header: {A: b}}}]",
    "rules: [{id: a, effect: deny, request: {header: [{A: b, C: [d, {re: e}]}, {F: {re: g}}]}}]",
    "rules: [{id: a, effect: deny, when: {time: {tz: UTC, days: [mon-wed, sun], hours: '22:00-06:00'}}}]",
    "rules: [{id: a, effect: deny, when: {time: [{tz: UTC, days: mon}, {tz: UTC, hours: ['08:00-09:00']}]}}]",
    "rules: [{id: a, effect: deny, mode: shadow, shadow_until: 2027-01-01}]",
    "identities: {a: {issuer: b}, c: [{issuer: b, cn: x}, {issuer: d, ou: {any_of: [y, z]}}]}",
    "identities: {a: {issuer: any, ou: {all_of: [x, {re: y}]}, o: z, subject: {L: m, 2.5.4.5: n}}}",
    "identities: {a: {issuer: b, dns_san: '*.x', uri_san: 'a://b/*', email_san: '*@x', ip_san: 10.0.0.0/8}}",
    f"identities: {{a: {{issuer: b, fingerprint: {'ab' * 32}, spki: '{'ab:' * 31}ab', serial: 1f, in_list: l}}}}",
    "identities: {a: {issuer: b, eku: clientAuth, policy_oid: [1.2.3, anyPolicy], min_key_bits: 3072}}",
    "routes: [{backend: a}, {who: x, request: {path: /y}, backend: b}]",
    "issuers: {a: {ca: [x.pem], revocation: {none: y}, max_lifetime: 1h, eku: any, allow_weak: true}}",
    "issuers: {a: {ca: x, revocation: {crl: {files: [a], urls: 'http://b', max_stale: 24h, idp: strict}}}}",
    "issuers: {a: {ca: x, revocation: {ocsp: {responder: 'http://b', timeout: 300ms, method: get, nonce: send}}}}",
    "issuers: {a: {ca: x, revocation: {ocsp: {aia: {hosts: [b]}}, combine: first_answer, depth: chain}}}",
    "lists: {a: {file: b.txt, accept_sha1_until: 2027-03-31}}",
    "break_glass: {a: {max_duration: 2h, ticket: 'INC-[0-9]+'}}",
    "defaults: {mode: shadow, no_certificate: anonymous, path_on_ambiguity: normalise, deny_status: 404}",
    "defaults: {path_parameters: allow, sni_mismatch: allow}",
]
#: Documents that are not, and that an editor can tell, too.
WRONG = [
    "apiVersion: authz/v2",
    "kind: list",
    "extra: 1",
    "rules: {}",
    "rules: [{id: a}]",
    "rules: [{id: a, effect: permit}]",
    "rules: [{id: a, effect: allow}]",
    "rules: [{id: a, effect: allow, who: a, status: 403}]",
    "rules: [{id: a, effect: deny, who: []}]",
    "rules: [{id: a, effect: deny, request: {}}]",
    "rules: [{id: a, effect: deny, request: {path: []}}]",
    "rules: [{id: a, effect: deny, when: {time: {tz: UTC}}}]",
    "rules: [{id: a, effect: require, request: {path: /a}}]",
    "rules: [{id: a, effect: require, who: a}]",
    "rules: [{id: a, effect: deny, status: 402}]",
    "identities: {a: {cn: x}}",
    "identities: {a: []}",
    "identities: {a: {issuer: b, name: c}}",
    "routes: [{who: a}]",
    "issuers: {a: {ca: x}}",
    "issuers: {a: {ca: x, revocation: {}}}",
    "issuers: {a: {ca: x, revocation: {crl: {refresh: 5m}}}}",
    "issuers: {a: {ca: x, revocation: {ocsp: {responder: 'http://a', aia: {hosts: [b]}}}}}",
    "break_glass: {a: {ticket: x}}",
    "defaults: {mode: off}",
    "lists: {a: {}}",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_the_language_has_is_read(text: str) -> None:
    reading, report = read(text)
    assert reading is not INVALID
    assert not report.errors, report.problems


@pytest.mark.parametrize("text", WRONG)
def test_what_the_language_has_not_is_refused(text: str) -> None:
    assert not accepted(text)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["title"] == "spoa-authz policy"


def as_editors_see_it(text: str) -> Any:
    """Read YAML as an editor does: dates stay texts, everything else gets the type of its look."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(text, Loader=Loader)


@pytest.mark.parametrize("text", RIGHT)
def test_an_editor_accepts_what_the_loader_accepts(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(as_editors_see_it(text))] == []


@pytest.mark.parametrize("text", WRONG)
def test_an_editor_marks_what_the_loader_refuses(text: str) -> None:
    assert not VALIDATOR.is_valid(as_editors_see_it(text))


def test_every_condition_has_its_key() -> None:
    assert set(IDENTITY_FIELDS) == {"issuer", "subject", *IDENTITY_CONDITIONS}
    assert set(UNLESS_FIELDS) == {"who", *COLUMNS}
    assert all(field.doc for field in (*IDENTITY_FIELDS.values(), *UNLESS_FIELDS.values()))
    assert API_VERSION == "authz/v1"


def test_values_may_be_one_a_list_or_an_expression() -> None:
    shape = values_of(TextPattern, None, universal=False)
    node, _ = read_document(b"{any_of: [a]}", "f")
    assert node is not None
    report = Report()
    assert shape.read(node, report, "x") is INVALID
    assert "expected" in report.problems[0].message
