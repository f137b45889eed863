"""Documents become one policy, or every problem with its place."""

from __future__ import annotations

from typing import Any

import pytest

from spoa.policy.document import read_document
from spoa.policy.load import document_kind, load_policies, resolve_path
from spoa.policy.model import Effect
from spoa.policy.reading import Report
from tests.policies import HEAD, NOW, model, problems

USE_ALL = "rules: [{id: a, effect: allow, who: any_certificate}]\n"


def codes(*texts: str, now: float | None = None) -> list[str]:
    return [("" if one.is_warning else "!") + one.code for one in problems(*texts, now=now)]


def only(*texts: str, now: float | None = None) -> Any:
    found = problems(*texts, now=now)
    assert len(found) == 1, [str(one) for one in found]
    return found[0]


# -- what a policy becomes --------------------------------------------------------------------------------------

FULL = """
apiVersion: authz/v1
kind: policy
metadata: {name: api-edge, owner: platform-security}
defaults:
  mode: shadow
  no_certificate: anonymous
  path_on_ambiguity: normalise
  path_parameters: allow
  sni_mismatch: allow
  deny_status: 404
issuers:
  corp:
    ca: [trust/corp.pem, ../old.pem]
    trust_domain: prod.example
    max_lifetime: 1h
    eku: any
    allow_multiple_cn: true
    allow_weak: true
    revocation: {none: "one hour; see RFC-27"}
lists:
  scanners: {file: lists/scanners.yaml, accept_sha1_until: 2027-03-31}
identities:
  scanners: {issuer: corp, in_list: scanners}
  staff: [{issuer: corp, ou: staff}, {issuer: corp, cn: "*"}]
break_glass:
  incident: {max_duration: 2h, ticket: "INC-[0-9]+"}
rules:
  - {id: one, effect: allow, who: [scanners, staff], request: {path: /x}, when: {tls: TLSv1.3}, active_during: incident}
  - id: two
    effect: require
    request: {path: /x}
    who: staff
    when: {source: 10.0.0.0/8}
    status: 401
    reason: mine
    overridable_by: incident
  - {id: three, effect: deny, unless: {who: staff, path: /y}, mode: shadow, shadow_until: 2027-01-15}
routes:
  - {who: staff, request: {path: /x}, when: {tls: TLSv1.3}, backend: main}
"""


def test_everything_that_is_written_stands_in_the_model() -> None:
    own = model(FULL)
    assert [(rule.id, rule.effect, rule.position) for rule in own.rules] == [
        ("one", Effect.ALLOW, "0.yaml:29"),
        ("two", Effect.REQUIRE, "0.yaml:30"),
        ("three", Effect.DENY, "0.yaml:38"),
    ]
    one, two, three = own.rules
    assert [matcher.key for matcher in one.request] == ["path", "tls"]
    assert one.active_during == "incident"
    assert [matcher.key for matcher in two.request] == ["path"]
    assert [matcher.key for matcher in two.required] == ["source"]
    assert (two.status, two.reason, two.overridable_by) == (401, "mine", "incident")
    assert three.unless is not None
    assert [matcher.key for matcher in three.unless] == ["path"]
    assert three.unless_who is not None
    assert (three.is_shadow, three.shadow_until, three.status) == (True, 1_799_971_200, 0)
    assert [(route.backend, len(route.request)) for route in own.routes] == [("main", 2)]
    assert [identity.name for identity in own.identities] == ["scanners", "staff"]
    issuer = own.issuers[0]
    assert issuer.ca == ("trust/corp.pem", "../old.pem")
    assert (issuer.trust_domain, issuer.max_lifetime, issuer.needs_client_eku) == ("prod.example", 3600, False)
    assert (issuer.allows_multiple_cn, issuer.allows_weak) == (True, True)
    assert issuer.revocation.none == "one hour; see RFC-27"
    assert [(source.name, source.file) for source in own.lists] == [("scanners", "lists/scanners.yaml")]
    assert own.lists[0].accept_sha1_until == 1_806_451_200
    assert [(switch.name, switch.max_duration, switch.ticket) for switch in own.switches] == [
        ("incident", 7200, "INC-[0-9]+")
    ]
    defaults = own.defaults
    assert (defaults.is_shadow, defaults.allows_anonymous, defaults.normalises_path) == (True, True, True)
    assert (defaults.allows_path_parameters, defaults.allows_sni_mismatch, defaults.deny_status) == (True, True, 404)


def test_identities_are_shared_between_the_rules_that_name_them() -> None:
    own = model(FULL)
    assert own.rules[0].who is not None
    assert own.rules[0].who.identities == own.identities
    assert own.rules[0].who.identities[1] is own.identities[1]


def test_names_are_resolved_over_all_files_whatever_their_order() -> None:
    rules = "apiVersion: authz/v1\nrules: [{id: a, effect: allow, who: staff}]\ndefaults: {mode: shadow}\n"
    names = HEAD + "identities: {staff: {issuer: corp, ou: staff}}\ndefaults: {deny_status: 404}\n"
    for texts in ((rules, names), (names, rules)):
        own = model(*texts)
        assert own.rules[0].id == "a"
        assert own.defaults.is_shadow
        assert own.defaults.deny_status == 404


def test_files_are_read_in_byte_order_of_their_names() -> None:
    text = "apiVersion: authz/v1\nrules: [{id: %s, effect: deny}]\n"
    names = ["b.yaml", "B.yaml", "a.yaml", "a-b.yaml", "\u00e9.yaml", "z.yaml"]
    report = Report()
    own = load_policies({name: (text % f"r{at}").encode() for at, name in enumerate(names)}, report)
    assert own is not None
    ordered = sorted(names, key=str.encode)
    assert [rule.id for rule in own.rules] == [f"r{names.index(name)}" for name in ordered]
    assert ordered == ["B.yaml", "a-b.yaml", "a.yaml", "b.yaml", "z.yaml", "\u00e9.yaml"]


def test_paths_are_relative_to_their_document() -> None:
    assert resolve_path("main.yaml", "trust/ca.pem") == "trust/ca.pem"
    assert resolve_path("sub/main.yaml", "ca.pem") == "sub/ca.pem"
    assert resolve_path("sub/main.yaml", "../ca.pem") == "ca.pem"
    assert resolve_path("main.yaml", "/etc/ca.pem") == "/etc/ca.pem"


def test_a_document_is_a_policy_unless_it_says_otherwise() -> None:
    def kind(text: str) -> str:
        node, _ = read_document(text.encode(), "f")
        assert node is not None
        return document_kind(node)

    assert kind("a: b") == "policy"
    assert kind("kind: tests") == "tests"
    assert kind("kind: [a]") == "policy"
    assert kind("[a]") == "policy"


def test_documents_of_other_kinds_and_comments_alone_add_nothing() -> None:
    own = model(HEAD + USE_ALL, "kind: tests\nwhatever: 1\n", "# nothing\n")
    assert len(own.rules) == 1


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_file_is_refused_since_it_may_be_one_that_was_cut_off(text: str) -> None:
    report = Report()
    assert load_policies({"a.yaml": (HEAD + USE_ALL).encode(), "b.yaml": text.encode()}, report) is None
    assert [(one.file, one.code) for one in report.problems] == [("b.yaml", "empty-file")]


# -- what is wrong ----------------------------------------------------------------------------------------------

#: text behind the head, code, text of the problem as `line:column path: message` begins or contains.
WRONG: list[tuple[str, str, str]] = [
    ("ruels: []\n", "unknown-key", '6:1 ruels: unknown key "ruels" in policy; did you mean "rules"?'),
    ("rules: [{id: a, efect: deny}]\n", "unknown-key", 'did you mean "effect"?'),
    ("rules: [{id: a, effect: deny, requests: {path: /x}}]\n", "unknown-key", 'did you mean "request"?'),
    ("rules: [{id: a, effect: deny, request: {paths: /x}}]\n", "unknown-key", "0.yaml:6:41 rules[0].request.paths"),
    ("rules: [{id: a, effect: permit}]\n", "invalid-value", 'expected "allow", "deny" or "require", found "permit"'),
    ("rules: [{id: a, effect: deny, id: b}]\n", "duplicate-key", 'duplicate key "id"'),
    ("rules: {}\n", "wrong-type", "expected a list, found a mapping"),
    ("rules: deny\n", "wrong-type", "expected a list, found a text"),
    ("rules: [{id: [a], effect: deny}]\n", "wrong-type", "found a list"),
    ("rules: [{id: a b, effect: deny}]\n", "invalid-value", "a name of letters"),
    ("rules: [{effect: deny}]\n", "missing-key", 'missing key "id"'),
    ("rules: [{id: a}]\n", "missing-key", 'missing key "effect"'),
    ("rules: [{id: a, effect: allow}]\n", "missing-key", 'missing key "who" in allow'),
    ("rules: [{id: a, effect: require, who: any_certificate}]\n", "missing-key", 'missing key "request" in require'),
    ("rules: [{id: a, effect: require, request: {path: /x}}]\n", "missing-key", 'the keys "who" or "when"'),
    # An empty match.
    ("rules: [{id: a, effect: deny, request: {}}]\n", "missing-key", "nothing is said in request"),
    ("rules: [{id: a, effect: deny, when: {}}]\n", "missing-key", "nothing is said in when"),
    ("rules: [{id: a, effect: deny, unless: {}}]\n", "missing-key", "nothing is said in unless"),
    ("rules: [{id: a, effect: deny, request: {path: []}}]\n", "too-few", "the list is empty"),
    ("rules: [{id: a, effect: deny, request: {path: ''}}]\n", "invalid-value", "starts with `/`"),
    ("rules: [{id: a, effect: deny, request: {path: }}]\n", "wrong-type", "found no value"),
    ("rules: [{id: a, effect: deny, who: []}]\n", "too-few", "the list is empty"),
    ("rules: [{id: a, effect: deny, who: {}}]\n", "missing-key", 'missing key "issuer"'),
    ("rules: [{id: a, effect: deny, request: {header: {}}}]\n", "too-few", "the mapping is empty"),
    ("rules: [{id: a, effect: deny, request: {header: {x: []}}}]\n", "too-few", "the list is empty"),
    ("rules: [{id: a, effect: deny, when: {time: {tz: UTC}}}]\n", "missing-key", '"days" or "hours"'),
    ("rules: [{id: a, effect: deny, when: {time: {days: mon}}}]\n", "missing-key", 'missing key "tz"'),
    ("rules: [{id: a, effect: deny, who: {issuer: corp, cn: ''}}]\n", "invalid-value", "the pattern is empty"),
    ("rules: [{id: a, effect: deny, who: {issuer: corp, subject: {}}}]\n", "too-few", "the mapping is empty"),
    ("identities: {x: []}\n" + USE_ALL, "too-few", "the list is empty"),
    # Keys where they have no meaning.
    ("rules: [{id: a, effect: allow, who: any_certificate, status: 405}]\n", "unknown-key", '"status" in allow'),
    ("rules: [{id: a, effect: allow, who: any_certificate, reason: x}]\n", "unknown-key", '"reason" in allow'),
    ("rules: [{id: a, effect: allow, who: any_certificate, unless: {path: /x}}]\n", "unknown-key", '"unless"'),
    ("rules: [{id: a, effect: allow, who: any_certificate, overridable_by: x}]\n", "unknown-key", '"overridable_by"'),
    ("rules: [{id: a, effect: deny, active_during: x}]\n", "unknown-key", '"active_during"'),
    ("rules: [{id: a, effect: deny, request: {source: 10.0.0.0/8}}]\n", "unknown-key", '"source" in request'),
    ("rules: [{id: a, effect: deny, when: {path: /x}}]\n", "unknown-key", '"path" in when'),
    ("rules: [{id: a, effect: deny, request: {path: {all_of: [/x]}}}]\n", "unknown-key", '"all_of"'),
    # Values.
    ("rules: [{id: a, effect: deny, status: 200}]\n", "invalid-value", "expected 400, 401"),
    ("rules: [{id: a, effect: deny, reason: Not Me}]\n", "invalid-value", "snake_case"),
    ("rules: [{id: a, effect: deny, reason: no_rule_allows}]\n", "reserved-name", "built-in reason"),
    ("rules: [{id: a, effect: deny, mode: on}]\n", "invalid-value", "enforce or shadow"),
    ("rules: [{id: a, effect: deny, when: {source: 10.1.0.0/8}}]\n", "invalid-value", "did you mean `10.0.0.0/8`"),
    ("rules: [{id: a, effect: deny, when: {tls: 1.3}}]\n", "invalid-value", "TLSv1.3"),
    ("rules: [{id: a, effect: deny, request: {path: {re: '('}}}]\n", "invalid-value", "unbalanced"),
    ("rules: [{id: a, effect: deny, request: {method: {re: G.*}}}]\n", "wrong-type", "found a mapping"),
    ("rules: [{id: a, effect: deny, who: {issuer: corp, eku: nobody}}]\n", "invalid-value", "clientAuth"),
    ("rules: [{id: a, effect: deny, who: {issuer: corp, fingerprint: ab}}]\n", "invalid-value", "64 hex digits"),
    ("rules: [{id: a, effect: deny, who: {issuer: corp, subject: {XY: z}}}]\n", "invalid-value", "attribute type"),
    ("rules: [{id: a, effect: deny, who: {issuer: corp, subject: {CN: z, 2.5.4.3: y}}}]\n", "duplicate-key", '"CN"'),
    ("rules: [{id: a, effect: deny, request: {header: {X-A: z, x-a: y}}}]\n", "duplicate-key", '"X-A"'),
    ("rules: [{id: a, effect: deny, request: {header: {'x:': z}}}]\n", "invalid-value", "without colon"),
    ("routes: [{backend: a b}]\n", "invalid-value", "HAProxy backend"),
    ("routes: [{who: any_certificate}]\n", "missing-key", 'missing key "backend"'),
    ("defaults: {mode: audit}\n", "invalid-value", "enforce or shadow"),
    ("defaults: {deny_status: 500}\n", "invalid-value", "expected 400"),
    ("defaults: {path_on_ambiguity: normalize}\n", "invalid-value", 'did you mean "normalise"?'),
    ("break_glass: {x: {max_duration: 2h}}\n", "missing-key", 'missing key "ticket"'),
    ("break_glass: {x: {max_duration: 0, ticket: a}}\n", "invalid-value", "out of range"),
    ("break_glass: {x: {max_duration: 2h, ticket: '(a'}}\n", "invalid-value", "unbalanced"),
    # Names.
    (
        "rules: [{id: a, effect: deny, who: staf}]\nidentities: {staff: {issuer: corp, ou: x}}\n",
        "unknown-name",
        'did you mean "staff"?',
    ),
    ("rules: [{id: a, effect: deny, who: any_certificat}]\n", "unknown-name", 'did you mean "any_certificate"?'),
    (
        "rules: [{id: a, effect: deny, who: {issuer: crop, cn: x}}]\n",
        "unknown-name",
        'unknown issuer "crop"; did you mean "corp"?',
    ),
    ("rules: [{id: a, effect: deny, who: {issuer: corp, in_list: x}}]\n", "unknown-name", 'unknown list "x"'),
    ("rules: [{id: a, effect: deny, overridable_by: x}]\n", "unknown-name", 'unknown break_glass switch "x"'),
    (
        "identities: {x: {issuer: corp, cn: x}}\n" + USE_ALL,
        "unused-identity",
        "6:14 identities.x: no rule and no route",
    ),
    (
        "identities: {anonymous: {issuer: corp, cn: x}}\nrules: [{id: a, effect: deny, who: anonymous}]\n",
        "reserved-name",
        '"anonymous"',
    ),
    ("issuers: {}\n", "duplicate-key", "issuers"),
    (
        "rules: [{id: a, effect: deny}, {id: a, effect: deny}]\n",
        "duplicate-id",
        '"a" is already the id of the rule at 0.yaml:6',
    ),
    ("rules: [{id: a, effect: deny, who: {issuer: any, serial: 1f}}]\n", "serial-without-issuer", "name the issuer"),
    (
        "rules: [{id: a, effect: deny, who: {issuer: corp, in_list: {all_of: [l]}}}]\nlists: {l: {file: l.txt}}\n",
        "useless-key",
        "`all_of`",
    ),
    # Shadows.
    ("rules: [{id: a, effect: deny, mode: shadow}]\n", "missing-key", 'missing key "shadow_until"'),
    ("rules: [{id: a, effect: deny, shadow_until: 2027-01-01}]\n", "useless-key", "without `mode: shadow`"),
    (
        "rules: [{id: a, effect: deny, mode: shadow, shadow_until: 2027-02-30}]\n",
        "invalid-value",
        "not in the calendar",
    ),
]


@pytest.mark.parametrize(("text", "code", "says"), WRONG)
def test_a_problem_has_its_place_its_code_and_its_advice(text: str, code: str, says: str) -> None:
    found = [one for one in problems(HEAD + text) if not one.is_warning and one.code == code]
    assert found, [str(one) for one in problems(HEAD + text)]
    assert any(says in str(one) for one in found), [str(one) for one in found]
    assert all(one.file == "0.yaml" and one.line >= 1 and one.column >= 1 for one in found)


ISSUER = "apiVersion: authz/v1\nissuers: {corp: {ca: a.pem%s}}\n" + USE_ALL


@pytest.mark.parametrize(
    ("rest", "code", "says"),
    [
        ("", "missing-key", 'missing key "revocation" in issuer'),
        (", revocation: {}", "missing-key", "nothing is said in revocation"),
        (", revocation: {none: ''}", "invalid-value", "empty"),
        (", revocation: {crl: {urls: ['ldap://a']}}", "invalid-value", "only http and https"),
        (", revocation: {crl: {}}", "missing-key", '"files" or "urls"'),
        (", revocation: {ocsp: {responder: 'http://me@a'}}", "invalid-value", "with a user or a password"),
        (", revocation: {ocsp: {aia: {hosts: ['http://a']}}}", "invalid-value", "without scheme and path"),
        (", revocation: {none: x, ocsp: {responder: 'http://a'}}", "contradiction", "no source can stand beside it"),
        (", revocation: {none: x, crl: {files: [a.crl]}}", "contradiction", "no source can stand beside it"),
        (", revocation: {ocsp: {}}", "missing-key", '"responder" or "aia"'),
        (", revocation: {none: x}, max_lifetime: 1", "invalid-value", "a duration such as"),
        (", revocation: {none: x}, eku: server", "invalid-value", "client or any"),
        (", revocation: {none: x}, allow_weak: yes", "invalid-value", "true or false"),
        (", revocation: {none: x}, trust_domain: 'spiffe://x'", "invalid-value", "SPIFFE trust domain"),
    ],
)
def test_an_issuer_must_say_how_it_is_judged(rest: str, code: str, says: str) -> None:
    found = [one for one in problems(ISSUER % rest) if one.code == code]
    assert found
    assert says in str(found[0])


@pytest.mark.parametrize(
    ("section", "entry"),
    [
        ("issuers", "{corp: {ca: x.pem, revocation: {none: y}}}"),
        ("identities", "{x: {issuer: corp, cn: y}}"),
        ("lists", "{l: {file: l.txt}}"),
        ("break_glass", "{s: {max_duration: 1h, ticket: t}}"),
    ],
)
def test_a_name_given_in_two_files_is_an_error_that_names_both(section: str, entry: str) -> None:
    uses = "rules: [{id: a, effect: deny, who: x}]\n" if section == "identities" else USE_ALL
    first = HEAD if section == "issuers" else HEAD + f"{section}: {entry}\n"
    found = only(first + uses, f"apiVersion: authz/v1\n{section}: {entry}\n")
    assert (found.code, found.file, found.line) == ("duplicate-name", "1.yaml", 2)
    assert "is already defined at 0.yaml:" in found.message


def test_a_rule_id_in_two_files_is_an_error_that_names_both() -> None:
    found = only(HEAD + USE_ALL, "apiVersion: authz/v1\nrules:\n- {id: a, effect: deny}\n")
    assert (found.code, found.file, found.line, found.column) == ("duplicate-id", "1.yaml", 3, 8)
    assert "0.yaml:6" in found.message


def test_routes_may_stand_in_one_file_only() -> None:
    route = "apiVersion: authz/v1\nroutes: [{backend: a}]\n"
    found = only(HEAD + USE_ALL, route, route)
    assert (found.code, found.file) == ("scattered-routes", "2.yaml")
    assert "1.yaml" in found.message
    assert model(HEAD + USE_ALL + "routes: []\n", route).routes[0].backend == "a"


def test_a_default_set_twice_is_an_error_even_with_the_same_value() -> None:
    defaults = "apiVersion: authz/v1\ndefaults: {mode: shadow}\n"
    found = only(HEAD + USE_ALL, defaults, defaults)
    assert (found.code, found.file) == ("duplicate-name", "2.yaml")


def test_all_problems_of_all_files_come_at_once_and_in_order() -> None:
    found = problems(
        HEAD + "rules:\n- {id: a, effect: deny, status: 1}\n- {id: a, effect: dny}\n",
        "apiVersion: authz/v2\nrules: [{id: c, effect: deny, who: nobody}]\n",
        "rules: [\n",
    )
    assert [(one.file, one.code) for one in found] == [
        ("0.yaml", "invalid-value"),
        ("0.yaml", "invalid-value"),
        ("1.yaml", "invalid-value"),
        ("1.yaml", "unknown-name"),
        ("2.yaml", "syntax"),
    ]
    assert found == sorted(found)


def test_an_unknown_name_stands_at_its_place_in_the_list_even_behind_one_that_can_not_be_read() -> None:
    found = problems(HEAD + "rules:\n- id: a\n  effect: deny\n  who:\n  - 'b c'\n  - nobody\n")
    assert [(one.line, one.column, one.code) for one in found] == [(10, 5, "invalid-value"), (11, 5, "unknown-name")]


def test_a_policy_with_an_error_is_no_policy() -> None:
    report = Report()
    assert load_policies({"a": b"apiVersion: authz/v1\nx: 1\n"}, report) is None
    assert load_policies({"a": b"apiVersion: authz/v1\n"}, report) is not None


# -- warnings ---------------------------------------------------------------------------------------------------


def test_what_is_doubtful_is_a_warning_and_no_error() -> None:
    assert codes("issuers: {}\n") == ["missing-api-version"]
    found = only(HEAD + "rules: [{id: a, effect: deny, who: {issuer: any, cn: x}}]\n")
    assert (found.code, found.is_warning, found.line, found.column) == ("any-issuer", True, 6, 45)


def test_a_shadow_past_its_date_is_a_warning_on_that_day() -> None:
    text = HEAD + "rules: [{id: a, effect: deny, mode: shadow, shadow_until: 2026-11-20}]\n"
    midnight = NOW - NOW % 86400
    assert codes(text) == []
    assert codes(text, now=midnight - 1) == []
    assert codes(text, now=midnight) == ["shadow-overdue"]


def test_a_list_whose_sha1_entries_ended_is_a_warning() -> None:
    text = HEAD + USE_ALL + "lists: {l: {file: l.txt, accept_sha1_until: 2026-11-20}}\n"
    midnight = NOW - NOW % 86400
    assert codes(text, now=midnight - 1) == []
    assert codes(text, now=midnight) == ["sha1-ended"]


def test_a_slip_in_the_effect_hides_nothing_else_of_the_rule() -> None:
    text = (
        'rules:\n  - {id: a, efect: allow, request: {path: "/a//b", metod: GET}, '
        'when: {time: {tz: UTC, hours: "25:00-08:00"}}}\n'
    )
    found = " ".join(map(str, problems(HEAD + text)))
    for message in ('did you mean "effect"?', "`//` never matches", 'did you mean "method"?', "no such time of day"):
        assert message in found
