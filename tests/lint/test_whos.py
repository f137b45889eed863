from __future__ import annotations

import pytest

from spoa.lint.places import places_of
from spoa.lint.regions import Atlas
from spoa.lint.whos import lint_whos
from spoa.policy.reading import Report
from tests.policies import HEAD, model

NAMED = HEAD + "identities: {staff: {issuer: corp, ou: [staff, admins]}, admins: {issuer: corp, ou: admins}}\n"


def found(rules: str) -> list[str]:
    text = NAMED + rules
    report = Report()
    policy = model(text)
    lint_whos(policy, places_of({"0.yaml": text.encode()}), Atlas(policy), report)
    return [f"{one.path} {one.message.split(' says')[0]}" for one in report.problems]


@pytest.mark.parametrize(
    ("who", "says"),
    [
        ("[staff, admins]", ['rules[0].who "admins"']),
        ("[admins, staff]", ['rules[0].who "admins"']),
        ("[admins, any_certificate, staff]", ['rules[0].who "admins"', 'rules[0].who "staff"']),
        ("[staff, {issuer: corp, ou: staff}, admins, {issuer: partners, ou: staff}]", [
            'rules[0].who "admins"',
            "rules[0].who an identity written in place",
        ]),
        ("[{issuer: corp, ou: a}, {issuer: corp, ou: a}]", ["rules[0].who an identity written in place"]),
        ("[{issuer: corp}, anonymous, {issuer: corp, cn: b}]", ["rules[0].who an identity written in place"]),
    ],
)  # fmt: skip
def test_who_means_nobody_else_is_reported(who: str, says: list[str]) -> None:
    rest = "{id: b, effect: deny, who: staff}, {id: c, effect: deny, who: admins}"
    assert found(f"rules: [{{id: a, effect: allow, who: {who}}}, {rest}]") == says


def test_exceptions_and_routes_are_looked_at_too() -> None:
    assert found(
        "rules: [{id: a, effect: deny, unless: {who: [staff, admins]}}]\nroutes: [{who: [staff, admins], backend: b}]"
    ) == ['rules[0].unless.who "admins"', 'routes[0].who "admins"']
