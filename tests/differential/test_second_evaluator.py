"""The agent's evaluator against a second one that was written from the specification alone.

Made-up policies are read by both, made-up requests judged by both: from the bytes of a message on, with real
certificates and with such as nobody could write. Whoever finds a difference asks the specification who is right.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from spoa.assurance import denial_for, disagreeing
from spoa.exceptions import PolicyError
from spoa.loading import load_policy
from spoa.policy.hosts import normal_host
from spoa.policy.model import CrlSource, OcspSource, Revocation
from spoa.policy.path import canonical_path
from spoa.policy.schedule import TimeWindow, read_days, read_hours, read_zone
from tests.differential import drawn_cases, drawn_mistakes, drawn_policies, drawn_requests
from tests.differential.drawn_certificates import Client, Draw, clients
from tests.differential.judged_twice import Twice, difference, load_twice
from tests.differential.second_evaluator import judge as judge_again
from tests.differential.second_evaluator import load_policy as load_again
from tests.differential.second_evaluator.cases import run_cases
from tests.differential.second_evaluator.network import host_name
from tests.differential.second_evaluator.paths import NotCanonicalError, canonical, hex_upper
from tests.differential.second_evaluator.revoking import Revocation as SecondRevocation
from tests.differential.second_evaluator.revoking import Source, revocation_reason
from tests.differential.second_evaluator.times import read_window

#: How many policies, and requests of each; the long run sets more.
POLICIES: Final = int(os.environ.get("SPOA_AUTHZ_DIFFERENTIAL_POLICIES", "60"))
REQUESTS: Final = 40
#: How many paths and hosts.
PARTS: Final = 50 * POLICIES
SEED: Final = int(os.environ.get("SPOA_AUTHZ_DIFFERENTIAL_SEED", "1"))
#: How many policies are judged at once: the files of more would only lie about.
BATCH: Final = 10
SHIPPED: Final = Path(__file__).parents[2] / "policies"

#: Refusals of which the specification says nothing: names and words that could mean nothing to anybody.
SILENT: Final = re.compile(
    "expected a name of letters|expected the name of a HAProxy backend|expected a SPIFFE trust domain"
    "|expected a path relative|expected an http or https URL|only http and https URLs|the URL has characters"
    "|the list is empty; at least 1|this is no host name|write a method as it stands|write one of SSLv3"
    "|characters; at most 64 are allowed|write host names in their ASCII form"
    "|a repetition is|an escape here never matches"
)


@pytest.fixture(scope="module")
def pool() -> tuple[Client, ...]:
    """Certificates with their bytes."""
    return clients(200, SEED)


def drawn(number: int, pool: tuple[Client, ...]) -> tuple[Draw, drawn_policies.Drawn]:
    """Make up the policy of this number."""
    draw = Draw(SEED * 1_000_003 + number)
    return draw, drawn_policies.policy(draw, pool)


def both(made: drawn_policies.Drawn, directory: Path) -> Twice:
    """Have both read a policy that is in order."""
    drawn_policies.write(made, directory)
    twice, refused, refused_again = load_twice(directory, drawn_requests.NOW)
    assert twice is not None, f"{refused or 'taken'} | {refused_again or 'taken'}\n{made.document}"
    return twice


@pytest.mark.parametrize("batch", range(0, POLICIES, BATCH))
def test_both_answer_the_same_to_whatever_is_asked(batch: int, pool: tuple[Client, ...], tmp_path: Path) -> None:
    for number in range(batch, min(batch + BATCH, POLICIES)):
        draw, made = drawn(number, pool)
        twice = both(made, tmp_path / str(number))
        for _ in range(REQUESTS):
            client = drawn_requests.somebody(draw, made.clients, pool)
            world, request = drawn_requests.world(draw), drawn_requests.something(draw, client)
            found = difference(twice, request, world, client)[0]
            assert not found, f"{found}\n{made.document}\n{made.files}\n{request}\n{world}"


def test_the_answers_are_of_all_sorts(pool: tuple[Client, ...], tmp_path: Path) -> None:
    sorts: Counter[str] = Counter()
    for number in range(30):
        draw, made = drawn(number, pool)
        drawn_policies.write(made, tmp_path / str(number))
        policy = load_again(tmp_path / str(number))
        for _ in range(REQUESTS):
            client = drawn_requests.somebody(draw, made.clients, pool)
            world = drawn_requests.world(draw)
            sorts[judge_again(policy, drawn_requests.something(draw, client), world).reason] += 1
    asked = sum(sorts.values())
    assert min(sorts["ok"], sorts["no_rule_allows"], sorts["path_not_canonical"]) > asked / 50, sorts
    assert sorts["denied_by_rule"] + sorts["requirement_not_met"] > asked / 100, sorts
    assert max(sorts.values()) < asked / 2, sorts
    assert len(sorts) > 15, sorts


@pytest.mark.parametrize("batch", range(0, POLICIES, BATCH))
def test_what_one_refuses_the_other_does(batch: int, pool: tuple[Client, ...], tmp_path: Path) -> None:
    kinds: Counter[tuple[bool, bool]] = Counter()
    for number in range(batch, min(batch + BATCH, POLICIES)):
        draw, made = drawn(number, pool)
        what = drawn_mistakes.mistaken(draw, made)
        drawn_policies.write(made, tmp_path / str(number))
        _, refused, refused_again = load_twice(tmp_path / str(number), drawn_requests.NOW)
        kinds[bool(refused), bool(refused_again)] += 1
        if bool(refused) is not bool(refused_again):
            assert refused, f"only the second refuses: {refused_again}\n{what}\n{made.document}"
            assert SILENT.search(refused), f"only the agent refuses: {refused}\n{what}\n{made.document}"
    assert kinds[True, True] > 0


@pytest.mark.parametrize("batch", range(0, POLICIES, BATCH))
def test_a_policy_is_taken_with_tests_that_the_second_expects_and_refused_with_one_wrong(
    batch: int, pool: tuple[Client, ...], tmp_path: Path
) -> None:
    for number in range(batch, min(batch + BATCH, POLICIES), 4):
        draw, made = drawn(number, pool)
        directory = tmp_path / str(number)
        second = both(made, directory).second
        tests = drawn_cases.document(draw, second)
        write_tests(directory, tests)
        assert all(outcome.passed for outcome in run_cases(second, directory))
        load_policy(directory, now=drawn_requests.NOW)
        write_tests(directory, drawn_cases.with_one_wrong(draw, tests))
        assert sum(not outcome.passed for outcome in run_cases(second, directory)) == 1
        with pytest.raises(PolicyError):
            load_policy(directory, now=drawn_requests.NOW)


def write_tests(directory: Path, tests: dict[str, Any]) -> None:
    """Give a policy its tests."""
    (directory / "tests").mkdir(exist_ok=True)
    (directory / "tests" / "made-up.yaml").write_text(drawn_policies.as_yaml(tests))


def test_the_second_evaluator_has_nothing_from_the_first() -> None:
    modules = sorted((Path(__file__).parent / "second_evaluator").glob("*.py"))
    assert len(modules) > 10
    assert [module.name for module in modules if re.search(r"(import|from) spoa", module.read_text())] == []


def test_the_shipped_policy_passes_its_tests_with_the_second_evaluator_too() -> None:
    outcomes = run_cases(load_again(SHIPPED), SHIPPED)
    assert len(outcomes) > 20
    assert [outcome for outcome in outcomes if not outcome.passed] == []


@pytest.mark.parametrize("effect", ["allow", "deny", "require"])
def test_an_evaluator_that_overlooks_a_kind_of_rules_is_found(
    effect: str, pool: tuple[Client, ...], tmp_path: Path
) -> None:
    for number in range(40):
        draw, made = drawn(number, pool)
        if not any(rule["effect"] == effect for rule in made.document["rules"]):
            continue
        twice = both(made, tmp_path / str(number))
        rules = tuple(rule for rule in twice.second.rules if rule.effect != effect)
        twice.second = replace(twice.second, rules=rules)
        for _ in range(REQUESTS):
            client = drawn_requests.somebody(draw, made.clients, pool)
            world, request = drawn_requests.world(draw), drawn_requests.something(draw, client)
            if difference(twice, request, world, client)[0]:
                return
    pytest.fail("nobody noticed")


# -- parts of which all or very many cases can be asked ---------------------------------------------------------------


def test_both_make_the_same_of_all_answers_of_revocation_sources() -> None:
    states = ("good", "revoked", "unknown", "stale", "unreachable", "not_loaded", "undetermined")
    for sources, combine in itertools.product(("ocsp", "crl", "ocsp crl"), ("any_revoked", "first_answer")):
        for modes in itertools.product((True, False), repeat=4):
            first, second = revocations(sources, combine, modes)
            for ocsp, crl in itertools.product(states, repeat=2):
                denial = denial_for(first, disagreeing(ocsp, crl))
                expected = revocation_reason(second, ocsp, crl, by_hand=False)
                assert (denial and str(denial)) == expected, (sources, combine, modes, ocsp, crl)


def revocations(sources: str, combine: str, modes: tuple[bool, ...]) -> tuple[Revocation, SecondRevocation]:
    """Make the same settings in the words of both."""
    ocsp_unknown, ocsp_failure, crl_unknown, crl_failure = modes
    words = ["allow" if is_soft else "deny" for is_soft in modes]
    first = Revocation(
        ocsp=OcspSource(allows_unknown=ocsp_unknown, allows_failure=ocsp_failure) if "ocsp" in sources else None,
        crl=CrlSource(allows_unknown=crl_unknown, allows_failure=crl_failure) if "crl" in sources else None,
        combine=combine,
    )
    second = SecondRevocation(
        ocsp=Source(*words[:2]) if "ocsp" in sources else None,
        crl=Source(*words[2:]) if "crl" in sources else None,
        combine=combine,
    )
    return first, second


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("parameters", [False, True])
def test_both_read_every_path_alike(normalise: bool, parameters: bool) -> None:
    draw = Draw(SEED)
    atoms = (*"aA/.;%-_~*K", *drawn_requests.SEGMENTS, "//", "/../", "/./", "?")
    for _ in range(PARTS):
        raw = "/" + "".join(draw.choices(atoms, k=draw.randint(0, 7)))
        first = canonical_path(raw, normalise=normalise, parameters=parameters)
        try:
            second = hex_upper(canonical(raw, normalise=normalise, parameters=parameters))
        except NotCanonicalError:
            second = None
        assert (first and hex_upper(first.text)) == second, raw


def test_both_read_every_host_alike() -> None:
    draw = Draw(SEED)
    atoms = (
        *"aA.-_:[]09",
        "example",
        "10.0.0.1",
        "::1",
        "2001:DB8::",
        "443",
        ":80",
        "\xe9",
        " ",
        "..",
        "a" * 63,
        "*",
        "@",
    )
    for _ in range(PARTS):
        raw = "".join(draw.choices(atoms, k=draw.randint(0, 5)))
        assert normal_host(raw) == host_name(raw), raw


def test_both_tell_time_alike() -> None:
    draw = Draw(SEED)
    for _ in range(PARTS // 100):
        opens, closes = draw.sample(range(0, 1440, 15), k=2)
        node = {
            "tz": draw.choice(drawn_policies.ZONES),
            "days": draw.choice(drawn_policies.DAYS),
            "hours": f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}",
        }
        hours = read_hours(node["hours"])
        first = TimeWindow(read_zone(node["tz"]), read_days(node["days"]), hours, "")
        second = read_window(node)
        for instant in (draw.choice(drawn_requests.EDGES) + draw.randint(-5760, 5760) * 15 for _ in range(200)):
            assert first.matches(instant - instant % 60, generous=False) is second(instant), (node, instant)
