"""From a policy directory to a policy: read, check, test and compile, all at once.

Everything is read before anything is judged, and every problem is collected before anything is refused. What comes out
is whole: there is no policy without its lists, its issuers, or with a test that fails.
"""

from __future__ import annotations

import functools
import hashlib
import stat
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spoa.allowlist import Listing, expiry_warnings, parse_plain, parse_rich
from spoa.authorizer import Policy
from spoa.crl_builder import build
from spoa.evidence_store import manifest_from_rows, open_crls, sources_of
from spoa.exceptions import PolicyError, Problem
from spoa.issuers import Issuers
from spoa.listindex import ListIndex, write_index
from spoa.listtext import rows_of
from spoa.pem import read_blocks
from spoa.policy.document import read_document
from spoa.policy.evaluator import Evaluator
from spoa.policy.listfile import read_list_document
from spoa.policy.load import KINDS, MAX_POLICY_SIZE, document_kind, load_policies
from spoa.policy.reading import Report, quoted, suggestion
from spoa.rehearsal import rehearse
from spoa.revocation.evidence import read_certificates
from spoa.state import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spoa.allowlist import Row
    from spoa.policy.document import Node
    from spoa.policy.model import Issuer, ListSource, PolicyModel

__all__ = ["Documents", "Loaded", "fixtures", "load_directory", "load_policy", "with_revocation_lists"]

#: Bytes of a plain list or a CA file.
MAX_FILE_SIZE: Final = 256 << 20
#: How often files that change while they are read are read again.
_MAX_READS: Final = 5
#: Folders of a policy directory that hold other things than policies.
_FOLDERS: Final = frozenset({"lists", "trust", "crl", "tests"})


@dataclass(slots=True)
class Documents:
    """What a policy directory holds, by kind; names are relative to it.

    Attributes:
        policies, tests: name → text.
        known: what was read of the documents at the top already, to find their kind.
        files: every path that was read or looked for, absolute; whoever watches for changes watches these.
        contents: what they held, by their names.
    """

    policies: dict[str, bytes] = field(default_factory=dict)
    tests: dict[str, bytes] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)
    contents: dict[str, bytes] = field(default_factory=dict)
    known: dict[str, tuple[Node | None, tuple[Problem, ...]]] = field(default_factory=dict)


@dataclass
class Loaded:
    """All that a policy is made of, checked.

    Attributes:
        model: the rules.
        issuers: CA certificates.
        listings: list name → its digests.
        documents: what was read.
        revision: 12 hex digits over policies, lists and CA certificates.
    """

    model: PolicyModel
    issuers: Issuers
    listings: dict[str, Listing]
    documents: Documents
    revision: str

    @functools.cached_property
    def indexes(self) -> dict[str, bytes]:
        """List name → its index, made once for the tests and the bundle."""
        return {name: write_index(listing.sections) for name, listing in self.listings.items()}

    def policy(self) -> Policy:
        """Return the policy, with its lists in memory."""
        lists = {name: ListIndex(index) for name, index in self.indexes.items()}
        return Policy(Evaluator.of(self.model), self.issuers, lists, self.revision)


class _Reader:
    """Reads files below one directory, each once; what can't be read goes to the report."""

    def __init__(self, directory: Path, report: Report) -> None:
        self.directory = directory
        self._report = report
        self._digest = hashlib.sha256()
        self._seen: dict[str, bytes | None] = {}
        self._before: dict[str, object] = {}

    def read(self, name: str, *, is_evidence: bool = False, limit: int = MAX_FILE_SIZE) -> bytes | None:
        """Return a file's bytes, or None when it can't be read; `is_evidence` leaves it out of the revision."""
        if name not in self._seen:
            self._before[name] = self._state_of(name)
            self._seen[name] = self._read(name, limit)
            if not is_evidence:
                content = self._seen[name] or b""
                self._digest.update(b"%d %s %d " % (len(name.encode()), name.encode(), len(content)))
                self._digest.update(content)
        return self._seen[name]

    def _read(self, name: str, limit: int) -> bytes | None:
        path = self.directory / name
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                self._report.file_problem(name, "this is no regular file", "unreadable")
                return None
            if status.st_size > limit:
                self._report.file_problem(
                    name, f"the file has {status.st_size} bytes; {limit} is the most", "too-large"
                )
                return None
            return read_file(path, limit)
        except OSError as error:
            self._report.file_problem(name, f"the file can't be read: {error.strerror}", "unreadable")
            return None

    def is_settled(self) -> bool:
        """Tell whether nothing that was read has changed since, so that all of it was there at one time."""
        return all(self._state_of(name) == before for name, before in self._before.items())

    def list(self, name: str) -> list[str]:
        """Return the names in a directory that aren't hidden, in byte order; none where there is no such directory."""
        self._before.setdefault(name, self._state_of(name))
        path = self.directory / name
        return sorted((one.name for one in path.iterdir() if not one.name.startswith(".")), key=str.encode)

    def _state_of(self, name: str) -> object:
        try:
            status = (self.directory / name).stat()
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    @property
    def revision(self) -> str:
        """The first 12 hex digits over all that was read."""
        return self._digest.hexdigest()[:12]

    @property
    def contents(self) -> dict[str, bytes]:
        """What was read, by name."""
        return {name: content for name, content in self._seen.items() if content is not None}

    @property
    def files(self) -> set[Path]:
        """All paths that were read or looked for."""
        return {self.directory / name for name in self._seen}


def _read_documents(reader: _Reader, report: Report) -> Documents:
    """Read the YAML documents of a policy directory: those at its top by their kind, and `tests/`."""
    documents = Documents()
    try:
        top = reader.list("")
        tests = reader.list("tests") if "tests" in top else []
        _report_unread(reader, top, report)
    except OSError as error:
        report.file_problem(str(reader.directory), f"the directory can't be read: {error.strerror}", "unreadable")
        return documents
    for name in top:
        if name.endswith(".yaml"):
            _place(name, reader, documents, report)
    for name in tests:
        if name.endswith(".yaml"):
            documents.tests[f"tests/{name}"] = reader.read(f"tests/{name}", is_evidence=True) or b""
    for name in (*top, *(f"tests/{name}" for name in tests)):
        if _looks_like_yaml(name) and not name.endswith(".yaml"):
            report.file_problem(name, "policy files end in `.yaml`; rename it, or it would not be read", "file-name")
    if not documents.policies:
        report.file_problem(str(reader.directory), "there is no policy file (*.yaml) in this directory", "no-policy")
    return documents


def _looks_like_yaml(name: str) -> bool:
    return name.lower().endswith((".yaml", ".yml"))


def _report_unread(reader: _Reader, top: Sequence[str], report: Report) -> None:
    """Warn of YAML files that lie where nobody reads them: whoever put them there believes that they are in force."""
    for folder in (*(f"tests/{name}" for name in (reader.list("tests") if "tests" in top else ())), *top):
        if folder in _FOLDERS or not (reader.directory / folder).is_dir():
            continue
        for name in filter(_looks_like_yaml, reader.list(folder)):
            message = "this file is not read: policies lie at the top of the directory, tests in `tests/` itself"
            report.file_problem(f"{folder}/{name}", message, "not-read", is_warning=True)


def _place(name: str, reader: _Reader, documents: Documents, report: Report) -> None:
    """Put a document at the top of the directory where its kind belongs; lists are read where they are named."""
    text = reader.read(name, limit=MAX_POLICY_SIZE)
    if text is None:
        return
    node, _ = documents.known[name] = read_document(text, name, max_size=MAX_POLICY_SIZE)
    kind = "policy" if node is None else document_kind(node)
    if kind == "tests":
        documents.tests[name] = text
    elif kind == "policy":
        documents.policies[name] = text
    elif kind not in KINDS:
        report.problem(node, "kind", f"unknown kind {quoted(kind)}{suggestion(kind, KINDS)}", "unknown-kind")  # type: ignore[arg-type] # a kind stands in a node


def load_directory(directory: Path, report: Report, now: float) -> Loaded | None:
    """Load a policy directory without running its tests; None when the report has errors.

    Args:
        directory: the policy directory.
        report: takes every problem and warning.
        now: the time by which dates are judged overdue, seconds since the epoch.
    """
    for _ in range(_MAX_READS):
        own = Report()
        reader = _Reader(directory, own)
        loaded = _load(reader, own, now)
        if reader.is_settled():
            report.add(*own.problems)
            return loaded
    report.file_problem(str(directory), "the files do not stop changing while they are read", "unsettled")
    return None


def _load(reader: _Reader, report: Report, now: float) -> Loaded | None:
    documents = _read_documents(reader, report)
    model = load_policies(documents.policies, report, now=now, known=documents.known)
    if model is None:
        return None
    model = _with_pinned(model, reader, report)
    listings = {source.name: _listing(source, model, reader, report, now) for source in model.lists}
    issuers = _issuers(model, reader, report)
    documents.files = reader.files
    documents.contents = reader.contents
    if report.errors or issuers is None:
        return None
    return Loaded(model, issuers, listings, documents, reader.revision)


def _listing(source: ListSource, model: PolicyModel, reader: _Reader, report: Report, now: float) -> Listing:
    text = reader.read(source.file)
    if text is None:
        return Listing()
    if source.file.endswith((".yaml", ".yml")):
        document = read_list_document(text, source.file, report)
        if document is None:
            return Listing()
        rows = rows_of(document)
        report.add(*_strangers(rows, source.file, [issuer.name for issuer in model.issuers]))
        listing, problems = parse_rich(
            rows,
            source.file,
            is_permanent=document.is_permanent,
            accept_sha1_until=source.accept_sha1_until,
        )
    else:
        listing, problems = parse_plain(text, source.file, accept_sha1_until=source.accept_sha1_until)
    report.add(*problems, *expiry_warnings(listing, source.file, int(now)))
    return listing


def _strangers(rows: Sequence[Row], file: str, issuers: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each entry of an issuer that the policy doesn't know: it would stand for nobody."""
    for row in rows:
        issuer = str(row.values.get("issuer", ""))
        if "issuer" in row.values and issuer not in issuers:
            message = f"there is no issuer {quoted(issuer)}{suggestion(issuer, issuers)}"
            yield Problem(file, *row.places["issuer"], f"{row.path}.issuer", message, "unknown-name")


def _with_pinned(model: PolicyModel, reader: _Reader, report: Report) -> PolicyModel:
    """Return the model with the certificates of the OCSP responders that it pins."""
    return replace(model, issuers=tuple(_pinning(issuer, reader, report) for issuer in model.issuers))


def _pinning(issuer: Issuer, reader: _Reader, report: Report) -> Issuer:
    ocsp = issuer.revocation.ocsp
    content = reader.read(ocsp.responder_cert) if ocsp is not None and ocsp.responder_cert else None
    if ocsp is None or content is None:
        return issuer
    blocks = read_blocks(content, "CERTIFICATE")
    bad = next((block for block in blocks if block.problem), None)
    certificates = tuple(block.der for block in blocks)
    if bad is not None or len(read_certificates(certificates)) < max(len(certificates), 1):
        message = "this is no certificate, or not only; write the responder's own, PEM or DER"
        report.file_problem(ocsp.responder_cert, message if bad is None else bad.problem, "bad-certificate")
    ocsp = replace(ocsp, pinned=certificates)
    return replace(issuer, revocation=replace(issuer.revocation, ocsp=ocsp))


def _issuers(model: PolicyModel, reader: _Reader, report: Report) -> Issuers | None:
    files = {
        issuer.name: [(name, content) for name in issuer.ca if (content := reader.read(name)) is not None]
        for issuer in model.issuers
    }
    try:
        return Issuers.from_files(files)
    except PolicyError as error:
        report.add(*error.problems)
        return None


def load_policy(directory: str | Path, *, now: float | None = None, run_tests: bool = True) -> Policy:
    """Return the policy of a directory, ready to judge.

    Revocation lists are read once: load the policy again to take newer ones into account.

    Args:
        directory: a policy directory; see the policy reference.
        now: seconds since the epoch, for warnings and tests that name no time; the present unless given.
        run_tests: refuse a policy whose own tests fail, as the agent does.

    Raises:
        PolicyError: with every problem found; warnings alone raise nothing.
    """
    report = Report()
    now = time.time() if now is None else now
    loaded = load_directory(Path(directory), report, now)
    if loaded is None:
        raise PolicyError(_errors(report))
    policy = loaded.policy()
    if run_tests:
        rehearse(policy, loaded.documents.tests, fixtures(Path(directory)), report, now=now)
        report.refuse_errors()
    return with_revocation_lists(policy, loaded, Path(directory), now)


def with_revocation_lists(policy: Policy, loaded: Loaded, directory: Path, now: float) -> Policy:
    """Return the policy with the revocation lists that its files hold now; those that can't be used are left out."""
    sources = sources_of(loaded.model, loaded.issuers, directory)
    if not sources:
        return policy
    with tempfile.TemporaryDirectory() as folder:
        manifest = manifest_from_rows(build(Path(folder), sources, now).get("manifest", {}))
        crls = open_crls(Path(folder), manifest)  # what is mapped outlives its file
    return policy.with_crls({issuer: tuple(lists.values()) for issuer, lists in crls.items()})


def fixtures(directory: Path) -> Callable[[str], bytes | None]:
    """Return how the tests of a policy read the certificate files that they name, relative to the directory."""

    def read(name: str) -> bytes | None:
        path = directory / name
        try:
            return path.read_bytes() if path.is_file() else None
        except OSError:
            return None

    return read


def _errors(report: Report) -> tuple[Problem, ...]:
    return tuple(problem for problem in report.problems if not problem.is_warning)
