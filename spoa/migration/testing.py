"""The tests of a draft: what it says about requests that tell it from its original, and where HAProxy said otherwise.

They hold the draft to what it does now; whoever changes it on purpose changes them with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from spoa.migration.drafting import policy_of
from spoa.migration.notes import as_utf8
from spoa.migration.simulation import Outcome, Sample, simulate
from spoa.migration.trials import Client, request_of, subject_of, trials_of
from spoa.migration.writing import tests_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spoa.migration.drafting import Draft
    from spoa.policy.decision import Decision

__all__ = ["draft_tests", "verdicts"]

#: Most tests that are written.
_MOST: Final = 80
_FILE: Final = "tests/import.yaml"
_ISO: Final = "%Y-%m-%dT%H:%M:%SZ"


def verdicts(
    found: Draft, read: Callable[[str], str | None], now: int, *, is_test: bool = False
) -> Iterator[tuple[Client, Sample, Decision, Outcome]]:
    """Yield trials with what the draft and what HAProxy says, as far as that can be told without it.

    With `is_test` a header that a request doesn't have is empty: a test has no other way to say that it is absent.
    """
    policy = policy_of(found, now)
    trials = trials_of(
        found.refusals,
        found.switches,
        found.lists,
        read,
        allows_anonymous=found.allows_anonymous,
        is_tcp=found.is_tcp,
    )
    issuer = next(iter(found.issuers))
    for client, sample in trials.pairs():
        subject = subject_of(client, issuer, tuple(found.lists), now)
        sent = replace(sample, headers={**dict.fromkeys(trials.headers, ""), **sample.headers}) if is_test else sample
        request = request_of(sent, trials.headers)
        decision = policy.judge(request, now, subject=subject, revocation="good").decision
        digest = next((found.lists[name].lines[0] for name in client.lists if found.lists[name].lines), "")
        known = Sample(**{**_fields(sample), "sha1": digest or "0" * 40, "sha256": digest or "0" * 64})
        yield client, sent, decision, simulate(known, found.refusals, found.switches, read)


def _fields(sample: Sample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in Sample.__slots__}


def draft_tests(found: Draft, read: Callable[[str], str | None], now: int, stamp: str) -> bytes:
    """Return a tests document for a draft: of each kind of answer a few, and all where HAProxy said otherwise first.

    Args:
        found: the draft.
        read: from the name of a `-f` file to its text.
        now: seconds since the epoch.
        stamp: the same as the tests write it.
    """
    # Where an empty header makes a difference, a test would not say what the draft says for HAProxy.
    real = [decision.verdict for _, _, decision, _ in verdicts(found, read, now)]
    kinds: dict[tuple[str, ...], tuple[Client, Sample, Decision, Outcome]] = {}
    for verdict, (client, sample, decision, outcome) in zip(
        real, verdicts(found, read, now, is_test=True), strict=True
    ):
        if verdict != decision.verdict:
            continue
        differs = bool(outcome.verdict) and outcome.verdict != decision.verdict
        kind = (client.name, decision.reason, decision.rule, decision.route, str(differs))
        kinds.setdefault(kind, (client, sample, decision, outcome))
    chosen = sorted(kinds.values(), key=lambda one: not (one[3].verdict and one[3].verdict != one[2].verdict))[:_MOST]
    chosen.sort(key=lambda one: int(one[0].name.rpartition("-")[2]) if one[0].name[-1].isdigit() else 0)
    issuer = next(iter(found.issuers))
    certs = {
        client.name: _certificate(client, issuer, has_lists=bool(found.lists))
        for client, *_ in chosen
        if client.subject is not None
    }
    tests = [
        (_comment(decision, outcome), _test(client, sample, decision)) for client, sample, decision, outcome in chosen
    ]
    comments = [
        "What the draft says today. Where a comment says that HAProxy allowed, the draft is stricter.",
        "Change the policy and the test together.",
    ]
    return as_utf8(tests_text(comments, {"now": stamp}, certs, tests)).encode()


def _comment(decision: Decision, outcome: Outcome) -> str:
    if outcome.verdict and outcome.verdict != decision.verdict:
        return f"HAProxy said {outcome.verdict}."
    return ""


def _certificate(client: Client, issuer: str, *, has_lists: bool) -> Mapping[str, Any]:
    """Return what a certificate says; where there are lists also that it is on none, or it might be on any."""
    assert client.subject is not None
    keys: dict[str, Any] = {"issuer": issuer}
    for name, values in client.subject.items():
        value = values[0] if len(values) == 1 else list(values)
        if name in {"CN", "OU", "O"}:
            keys[name.lower()] = value
        else:
            keys.setdefault("subject", {})[name] = value
    if has_lists:
        keys["in_list"] = list(client.lists)
    return keys


def _test(client: Client, sample: Sample, decision: Decision) -> Mapping[str, Any]:
    further = [
        *([f"from {sample.source}"] if sample.source != "203.0.113.9" else []),
        *([f"to {name}"] if (name := sample.host or sample.sni) not in {"localhost", ""} else []),
        *(f"with {name} {value}" for name, value in sample.headers.items() if value),
    ]
    name = " ".join([client.name, sample.line, *further])[:190]
    found: dict[str, Any] = {"name": name, "cert": client.name if client.subject is not None else "none"}
    if sample.method:
        found |= {"request": sample.line, "source": sample.source, "host": sample.host}
    else:
        found |= {"source": sample.source, **({"sni": sample.sni} if sample.sni else {})}
    if sample.headers:
        found["headers"] = dict(sample.headers)
    found |= {"tls": "TLSv1.3", "expect": decision.verdict}
    if decision.verdict == "deny":
        found["reason"] = decision.reason
    for key, value in (("rule", decision.rule), ("route", decision.route)):
        if value:
            found[key] = value
    return found
