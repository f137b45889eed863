"""Bundles: what was built is opened again, whole, and nothing else is."""

from __future__ import annotations

import hashlib
import pickle
import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spoa.bundle import build_bundle, open_bundle
from spoa.exceptions import PolicyError, StateError
from spoa.facts import ABSENT, Request
from spoa.loading import load_policy
from spoa.policy.model import Defaults
from tests.pki import CA
from tests.policies import NOW

if TYPE_CHECKING:
    from spoa.authorizer import Policy

CORP = CA("Corp", now=NOW)
ALICE = CORP.issue("alice", ["staff"])
DIGEST = "ab" * 32

HEAD = f"""apiVersion: authz/v1
defaults: {{no_certificate: anonymous, path_on_ambiguity: normalise}}
issuers: {{corp: {{ca: trust/corp.pem, revocation: {{none: a test}}, max_lifetime: 90d}}}}
lists: {{plain: {{file: lists/plain.txt}}}}
break_glass: {{incident: {{max_duration: 1h, ticket: "INC-[0-9]+"}}}}
identities:
  staff: {{issuer: corp, ou: staff}}
  every:
    - {{issuer: corp, cn: {{re: "a.*"}}, o: x, subject: {{L: y}}, dns_san: "*.x", uri_san: "a://b/*"}}
    - {{issuer: corp, ip_san: 10.0.0.0/8, email_san: "*@b.c", serial: 1f, in_list: plain}}
    - {{issuer: corp, fingerprint: {DIGEST}, spki: {DIGEST}}}
    - {{issuer: corp, eku: clientAuth, policy_oid: 1.2.3, min_key_bits: 2048, ou: {{all_of: [z]}}}}
"""
RULES = """rules:
  - {id: staff, effect: allow, who: staff}
  - {id: every, effect: allow, who: [every, anonymous], request: {path: [/a, {re: /b}], host: [x.y, {re: z}]}}
  - id: more
    effect: deny
    request: {sni: x.y, method: read, header: {a: b, c: {re: d}}}
    when: {source: 10.0.0.0/8, tls: TLSv1.3}
  - id: time
    effect: require
    request: {path: /late}
    when: {time: {tz: Europe/Paris, days: mon, hours: "08:00-09:00"}}
    overridable_by: incident
  - {id: shadow, effect: deny, request: {path: /shadow}, unless: {who: staff}, mode: shadow, shadow_until: 2030-01-01}
"""
MANY = "".join(f"  - {{id: r{n}, effect: deny, who: staff, request: {{path: /p{n}}}}}\n" for n in range(60))
ROUTES = "routes: [{who: staff, backend: main}]\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("policies")
    (found / "trust").mkdir()
    (found / "lists").mkdir()
    (found / "trust/corp.pem").write_bytes(CORP.pem)
    (found / "lists/plain.txt").write_text(DIGEST + "\n")
    (found / "main.yaml").write_text(HEAD + RULES + MANY + ROUTES)
    return found


@pytest.fixture
def bundle(directory: Path, tmp_path: Path) -> Path:
    found = tmp_path / "bundle"
    found.mkdir()
    build_bundle(directory, found)
    return found


def opened(bundle: Path, **given: Any) -> Policy:
    *steps, own = open_bundle(bundle, **given)
    assert all(step is None for step in steps)
    assert own is not None
    return own


REQUESTS = [
    Request(cert=ALICE.der, used=True, verify=0, method=method, path=path, sni=ABSENT)
    for method in ("GET", "POST")
    for path in ("/", "/a", "/b", "/late", "/shadow", "/p7", "/p59", "/P59", "//", "/c//d")
]


def said(own: Policy) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for request in REQUESTS:
        for switches in (frozenset[str](), frozenset({"incident"})):
            judgement = own.judge(request, NOW, switches=switches)
            one = judgement.decision
            found.append(
                (one.verdict, one.status, one.reason, one.rule, one.rules, one.identity, one.route, one.shadow)
            )
            found.append((judgement.path, judgement.days_left))
    return found


def test_a_bundle_judges_like_the_directory_that_it_was_built_from(directory: Path, bundle: Path) -> None:
    own = opened(bundle)
    original = load_policy(directory)
    assert said(own) == said(original)
    assert own.revision == original.revision
    assert own.reads == original.reads
    assert own.status() == original.status()
    assert {"staff", "r59", "time"} <= {one[3] for one in said(own) if len(one) == 8}


def test_identities_are_shared_after_the_way_through_the_file(bundle: Path) -> None:
    model = opened(bundle).model
    shared = [rule.who.identities[0] for rule in model.rules if rule.id.startswith("r") and rule.who is not None]
    assert len({id(identity) for identity in shared}) == 1
    assert shared[0] is model.identities[0]


def test_the_report_says_what_was_read(directory: Path, tmp_path: Path) -> None:
    report = build_bundle(directory, tmp_path)
    assert report.revision == load_policy(directory).revision
    assert report.warnings == ()
    assert {Path(name).name for name in report.files} == {"main.yaml", "corp.pem", "plain.txt"}


def test_a_bad_policy_makes_no_bundle(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "main.yaml").write_text("rules: 1\n")
    with pytest.raises(PolicyError):
        build_bundle(source, target)
    assert list(target.iterdir()) == []


def test_a_policy_whose_tests_fail_makes_no_bundle(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "main.yaml").write_text("apiVersion: authz/v1\n")
    (source / "tests.yaml").write_text(
        "apiVersion: authz/v1\nkind: tests\ntests: [{name: a, cert: none, request: GET /, expect: allow}]\n"
    )
    with pytest.raises(PolicyError, match="a"):
        build_bundle(source, target)
    assert list(target.iterdir()) == []


def test_what_is_known_of_certificates_is_carried_over(bundle: Path) -> None:
    first = opened(bundle)
    said(first)
    second = opened(bundle, previous=first)
    said(second)
    assert second.certificates is first.certificates
    assert second.certificates.misses == 1


# -- what is no bundle ------------------------------------------------------------------------------------------


def slices(content: bytes) -> list[bytes]:
    found = []
    content = content[32:]
    while content:
        size = 8 + struct.unpack_from(">Q", content)[0]
        found.append(content[:size])
        content = content[size:]
    return found


@pytest.mark.parametrize("name", ["policy", "lists/0"])
def test_a_bundle_without_a_file_or_with_an_empty_one_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"")
    with pytest.raises(StateError):
        opened(bundle)
    (bundle / name).unlink()
    with pytest.raises(StateError):
        opened(bundle)


def test_a_bundle_that_lost_a_slice_is_refused(bundle: Path) -> None:
    whole = slices((bundle / "policy").read_bytes())
    assert len(whole) > 4
    for missing in range(len(whole)):
        for digest in (hashlib.sha256(b"".join(whole)).digest(), b""):
            (bundle / "policy").write_bytes(digest + b"".join(whole[:missing] + whole[missing + 1 :]))
            with pytest.raises(StateError, match="build it again"):
                opened(bundle)


def test_a_bundle_without_its_head_is_refused(bundle: Path) -> None:
    _, *others = slices((bundle / "policy").read_bytes())
    for content in (b"".join(others), b""):
        (bundle / "policy").write_bytes(hashlib.sha256(content).digest() + content)
        with pytest.raises(StateError, match="build it again"):
            opened(bundle)


def test_a_damaged_or_cut_bundle_is_refused(bundle: Path) -> None:
    whole = (bundle / "policy").read_bytes()
    choice = random.Random(11)
    for _ in range(300):
        damaged = bytearray(whole)
        if choice.random() < 0.2:
            del damaged[choice.randrange(len(damaged)) :]
        else:
            damaged[choice.randrange(len(damaged))] ^= 1 << choice.randrange(8)
        (bundle / "policy").write_bytes(damaged)
        with pytest.raises(StateError, match="build it again") as caught:
            opened(bundle)
        assert caught.value.path == str(bundle)


class Evil:
    """Runs code where a pickle is read without care."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


def planted(bundle: Path, value: object) -> None:
    plant(bundle, pickle.dumps(("head", value), protocol=5))


def plant(bundle: Path, code: bytes) -> None:
    content = struct.pack(">Q", len(code)) + code
    (bundle / "policy").write_bytes(hashlib.sha256(content).digest() + content)


def test_no_pickle_runs_code(bundle: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for evil in (
        Evil(Path.touch, mark),
        Evil(eval, f"open({str(mark)!r}, 'w')"),
        Evil(getattr, Defaults, "__subclasses__"),
        Evil(build_bundle, tmp_path, tmp_path),
        Evil(struct.pack, ">Q", 1),
        Evil(load_policy, tmp_path),
    ):
        planted(bundle, evil)
        with pytest.raises(StateError, match="is no part of a policy"):
            opened(bundle)
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x04\x8c\x13spoa.policy.grammar\x8c\x08re.Match\x93.",
        b"\x80\x04\x8c\x12spoa.policy.reading\x8c\x04json\x93.",
        b"\x80\x04\x8c\x10spoa.policy.load\x8c\rload_policies\x93.",
        b"\x80\x04\x8c\x0cspoa.loading\x8c\x0bload_policy\x93.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_no_pickle_reaches_what_is_no_class_of_a_policy(bundle: Path, code: bytes) -> None:
    plant(bundle, code)
    with pytest.raises(StateError, match="build it again"):
        opened(bundle)
