"""What people write: policies and their tests, lists, blocks and openings; and what the agent wrote itself."""

from __future__ import annotations

from typing import Final

from spoa.allowlist import expiry_warnings, parse_plain, parse_rich
from spoa.blocks import BlockList
from spoa.exceptions import ListError, PolicyError
from spoa.facts import Request
from spoa.listindex import ListIndex, write_index
from spoa.listtext import ListText, rows_of
from spoa.openings import Openings
from spoa.pem import read_blocks
from spoa.policy.cases import read_cases
from spoa.policy.document import read_document
from spoa.policy.evaluator import Evaluator
from spoa.policy.layout import LayoutError, formatted
from spoa.policy.listfile import read_list_document
from spoa.policy.load import load_policies
from spoa.policy.reading import Report
from spoa.recorded import Sightings, certificate_of, read_decision, request_of, time_of
from tests.fuzz.target import Target, told
from tests.policies import HEAD, NOW, holder, model, policy

__all__ = ["BLOCKS", "CASES", "DECISIONS", "LISTS", "OPENINGS", "PEM", "PLAIN_LISTS", "POLICIES", "YAML"]

_SIZE: Final = 1 << 20


def _read_yaml(data: bytes) -> None:
    """A document has nodes or problems; formatted, it says the same."""
    node, problems = read_document(data, "a.yaml")
    for problem in problems:
        told(ValueError(str(problem)))
        assert problem.line <= data.count(b"\n") + data.count(b"\r") + 2
    text, _ = formatted(data, "a.yaml", max_size=_SIZE)
    if text is None or problems or node is None:
        return
    again, complaints = formatted(text.encode(), "a.yaml", max_size=_SIZE)
    assert not complaints
    assert again == text, "formatted twice it is another text"


def _read_policy(data: bytes) -> None:
    """Documents become a policy that can be asked, or problems."""
    report = Report()
    found = load_policies({"a.yaml": data}, report, now=NOW)
    for problem in report.problems:
        told(ValueError(str(problem)))
    if found is None:
        assert report.errors
        return
    evaluator = Evaluator.of(found)
    assert evaluator.model is found
    judge = policy(data.decode())
    issuers = [issuer.name for issuer in found.issuers]
    for who in [holder("alice", "admins", issuer=name) for name in issuers[:2]]:
        decision = judge.judge(Request(method="GET", path="/a"), NOW, subject=who).decision
        assert decision.verdict == "deny" or found.rules


_MODEL: Final = model(HEAD + "rules: [{id: all, effect: allow, who: any_certificate}]")


def _read_cases(data: bytes) -> None:
    """Policy tests are read, or have problems."""
    report = Report()
    read_cases(data, "tests/a.yaml", _MODEL, report)
    for problem in report.problems:
        told(ValueError(str(problem)))


def _read_plain_list(data: bytes) -> None:
    """Each line is an entry, a comment or a problem; what was read is found again."""
    listing, problems = parse_plain(data, "a.txt", accept_sha1_until=NOW)
    for problem in problems:
        told(ValueError(str(problem)))
    _assert_found(listing.sections)
    expiry_warnings(listing, "a.txt", NOW)
    if all(problem.is_warning for problem in problems):
        written = ListText(data, "a.txt").entries
        digests = {(kind, digest) for kind, section in listing.sections.items() for digest in section}
        assert {(entry.key.kind, entry.key.digest) for entry in written} == digests


def _assert_found(sections: dict) -> None:  # type: ignore[type-arg]
    index = ListIndex(write_index(sections))
    assert len(index) == sum(map(len, sections.values()))


def _read_list(data: bytes) -> None:
    """Entries of a rich list are found again in its index."""
    report = Report()
    document = read_list_document(data, "a.yaml", report)
    if document is not None:
        listing, problems = parse_rich(rows_of(document), "a.yaml", is_permanent=document.is_permanent)
        report.add(*problems)
        _assert_found(listing.sections)
        expiry_warnings(listing, "a.yaml", NOW)
    for problem in report.problems:
        told(ValueError(str(problem)))
    ListText(data, "a.yaml")


def _read_blocks(data: bytes) -> None:
    """A block list has no more blocks than are written in it."""
    blocks = BlockList.from_text(data)
    assert len(blocks) <= data.count(b":")


def _read_openings(data: bytes) -> None:
    """Openings survive being written; none counts that no policy declares."""
    openings = Openings.from_text(data)
    assert Openings.from_text(openings.to_text()).openings == openings.openings
    assert openings.in_force((), NOW)[0] == frozenset()


def _read_pem(data: bytes) -> None:
    """Blocks of PEM know their lines."""
    for block in read_blocks(data, "CERTIFICATE"):
        assert block.line <= len(data.splitlines())


def _read_decisions(data: bytes) -> None:
    """Lines of a decision log are decisions, or passed over."""
    for line in data.split(b"\n"):
        decision = read_decision(line)
        if decision is not None:
            time_of(decision)
            request_of(decision)
            certificate_of(decision, NOW)
    Sightings().read(data.split(b"\n"))


_YAML: Final = (
    *(
        b"apiVersion: authz/v1",
        b"kind: list",
        b"kind: blocks",
        b"kind: openings",
        b"kind: tests",
        b"rules:",
        b"issuers:",
    ),
    *(b"identities:", b"routes:", b"defaults:", b"effect: allow", b"effect: deny", b"effect: require", b"who:", b"cn:"),
    *(b"request:", b"when:", b"unless:", b"path:", b"method:", b"time:", b"entries:", b"sha256:", b"expires:"),
    *(b"permanent: true", b"switch:", b"ticket:", b"until:", b"opened:", b"&a", b"*a", b"<<: ", b"? ", b"!!", b"|-\n"),
    *(
        b"re:",
        b"any_of:",
        b"all_of:",
        b"invariants:",
        b"never_allow:",
        b"matrix:",
        b"certs:",
        b"\xe2\x80\xae",
        b"\xef\xbb\xbf",
    ),
)


#: A document whose layout would say something else, such as one with a block of text for a key, is left as it is.
YAML: Final = Target("yaml", _read_yaml, (LayoutError,), words=_YAML)
POLICIES: Final = Target("policies", _read_policy, words=_YAML)
CASES: Final = Target("policy-tests", _read_cases, words=_YAML)
LISTS: Final = Target("lists", _read_list, (PolicyError, ListError), words=_YAML)
PLAIN_LISTS: Final = Target(
    "plain-lists", _read_plain_list, (ListError,), longest=1024, words=(b"SHA256 Fingerprint=", b"sha1:", b"ab" * 32)
)
BLOCKS: Final = Target("blocks", _read_blocks, (PolicyError,), longest=1024, words=_YAML)
OPENINGS: Final = Target("openings", _read_openings, (PolicyError,), longest=1024, words=_YAML)
PEM: Final = Target(
    "pem", _read_pem, longest=1024, words=(b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----")
)
DECISIONS: Final = Target(
    "decisions", _read_decisions, longest=2048, words=(b'"verdict":"deny"', b'"cert":', b'"time":')
)
