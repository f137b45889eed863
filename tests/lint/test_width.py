from __future__ import annotations

import pytest

from spoa.lint.places import places_of
from spoa.lint.regions import Atlas
from spoa.lint.rules import lint_rules
from spoa.policy.reading import Report
from tests.policies import HEAD, model

NAMED = """
lists: {machines: {file: m.txt}}
identities:
  staff: {issuer: corp, ou: staff}
  api-readonly: {issuer: corp, ou: audit}
"""


def reasons(*rules: str) -> list[str]:
    """Return why the first rule is too wide."""
    listed = "".join(f"  - {{id: r{number}, {rule}}}\n" for number, rule in enumerate(rules))
    text = f"{HEAD}{NAMED}rules:\n{listed}\nroutes: [{{who: [staff, api-readonly], backend: b}}]\n"
    report = Report()
    policy = model(text)
    lint_rules(policy, places_of({"0.yaml": text.encode()}), Atlas(policy), report)
    return [one.message for one in report.problems if one.code == "wide-allow" and one.path.startswith("rules[0]")]


STAFF = "effect: allow, who: staff"
AREA = ", request: {path: '/a/**'}"
TWO = "effect: allow, who: {issuer: corp, cn: {re: '(one|two)'}}, "
MAIL = "effect: allow, who: {issuer: corp, email_san: a@b.example}, "
SCANNER = "effect: allow, who: {issuer: corp, in_list: machines}, request: {path: /scan}"


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([STAFF, "effect: deny, who: staff, unless: {path: '/s/**'}"], "all but its exception"),
        ([STAFF, "effect: deny, who: {issuer: corp}, unless: {path: '/s/**', method: read}"], "all but its exception"),
        ([STAFF, "effect: deny, who: staff, request: {method: write}"], "some of these methods"),
        ([STAFF + AREA, f"effect: require{AREA}, who: {{issuer: corp, ou: staff, cn: x}}"], "only some get past"),
        (["effect: allow, who: api-readonly"], "by its name"),
        (["effect: allow, who: api-readonly, request: {method: [GET, PUT]}"], "by its name"),
        (["effect: allow, who: any_certificate", STAFF + ", request: {path: /x}"], "everybody is allowed everything"),
        (["effect: allow, who: {issuer: corp, cn: one}", SCANNER], "single clients"),
        (["effect: allow, who: {issuer: corp, serial: ff}, request: {path: '/**'}", SCANNER], "single clients"),
        (["effect: allow, who: {issuer: corp, cn: one}", STAFF + AREA], "single clients"),
        ([TWO + "request: {path: {re: '/.*'}}", STAFF + AREA], "single clients"),
        ([MAIL + "request: {path: ['/x', '/**'], method: [read, write]}", STAFF + AREA], "single clients"),
        (["effect: allow, who: {issuer: corp, subject: {UID: u1}, ou: staff}", STAFF + AREA], "single clients"),
    ],
)  # fmt: skip
def test_an_allow_that_is_too_wide_is_reported_once_with_what_to_write(rules: list[str], says: str) -> None:
    (message,) = reasons(*rules)
    assert says in message
    assert "; " in message


@pytest.mark.parametrize(
    "rules",
    [
        [STAFF],
        [STAFF + ", request: {path: '/s/a'}", "effect: deny, who: staff, unless: {path: '/s/**'}"],
        [STAFF, "effect: deny, who: {issuer: corp, ou: staff, cn: x}, unless: {path: '/s/**'}"],
        [STAFF, "effect: deny, who: staff, unless: {source: 10.0.0.0/8}"],
        [STAFF, "effect: deny, who: staff, request: {path: '/s/**'}"],
        [STAFF, "effect: deny, request: {method: write}"],
        [STAFF + ", request: {method: GET}", "effect: deny, who: staff, request: {method: write}"],
        [STAFF, "effect: deny, who: staff, request: {method: write}, mode: shadow, shadow_until: 2999-01-01"],
        [STAFF, "effect: require, request: {path: '/a/**'}, who: {issuer: corp, ou: staff, cn: x}"],
        ["effect: allow, who: api-readonly, request: {method: [GET, HEAD]}"],
        ["effect: allow, who: any_certificate"],
        ["effect: allow, who: {issuer: corp, cn: one}"],
        ["effect: allow, who: {issuer: corp, cn: 'one-*'}", SCANNER],
        ["effect: allow, who: {issuer: corp, cn: {re: 'one-[0-9]'}}", STAFF + AREA],
        ["effect: allow, who: {issuer: corp, ou: audit}", STAFF + AREA],
        ["effect: allow, who: {issuer: corp, cn: one}", STAFF + ", request: {method: read}"],
        ["effect: allow, who: {issuer: corp, cn: one}, request: {method: read}", STAFF + AREA],
        ["effect: allow, who: {issuer: corp, cn: one}", STAFF + AREA + ", mode: shadow, shadow_until: 2999-01-01"],
        ["effect: allow, who: {issuer: corp, cn: one}, when: {source: 10.0.0.0/8}", SCANNER],
    ],
)  # fmt: skip
def test_an_allow_that_is_as_wide_as_it_seems_is_not(rules: list[str]) -> None:
    assert reasons(*rules) == []
