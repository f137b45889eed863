"""The process that reads, checks and indexes revocation lists, so that no request waits for it.

A job is `evidence` (the directory of indexes and of the manifest), `downloads` (the directory of
copies of what URLs sent) and `sources`. Its report: the `manifest` of what is to be in force now, and `problems`: what
was offered and not accepted, each with `issuer`, `file` (or URL), `reason` and `detail`. What was accepted before stays
until something newer takes its place: a list that is missing, cut off or a stranger's takes nothing away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import stat
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.download import download_path
from spoa.evidence_store import Held, open_index, read_manifest, sources_from_rows
from spoa.jobs import serve_jobs
from spoa.pem import read_blocks
from spoa.revocation.crl import rollback
from spoa.revocation.crl_index import MAX_CRL_SIZE, write_index
from spoa.revocation.evidence import CRL_LABEL, read_certificates
from spoa.revocation.status import FOREVER, Reason, Rules, most_specific
from spoa.state import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.evidence_store import Source
    from spoa.revocation.certificates import Certified
    from spoa.revocation.crl import Crl

__all__ = ["LIST_SUFFIXES", "build", "work"]

#: What a file in a directory of lists must end in; `.r0` is what `openssl rehash` makes.
LIST_SUFFIXES: Final = (".crl", ".pem", ".der", ".r0")
_MAX_FILES: Final = 10_000


class _Loaded(NamedTuple):
    """A list that was read, or is in force from before."""

    held: Held
    crl: Crl
    file: str = ""

    @property
    def place(self) -> object:
        """What a newer list must share with it to take its place."""
        return self.crl.slot, self.crl.is_delta


class _Issuer:
    """Loads the lists of one issuer."""

    def __init__(self, name: str, source: Source, evidence: Path, downloads: Path | None, now: int) -> None:
        self._name = name
        self._source = source
        self._evidence = evidence
        self._downloads = downloads
        self._now = now
        self._rules = Rules(sha1_until=FOREVER) if source.allows_sha1 else Rules()
        self._signers = read_certificates(source.signer_ders)
        self.problems: list[dict[str, str]] = []

    def lists(self, before: Sequence[Held]) -> tuple[Held, ...]:
        """Return what is to be in force, given what was."""
        held = {old.place: old for old in self._still_good(before)}
        newest: dict[object, _Loaded] = {}
        for offered in self._offered():
            rival = newest.get(offered.place)
            if rival is None or rollback(rival.crl, offered.crl) is None:
                newest[offered.place] = offered
        for place, offered in newest.items():
            old = held.get(place)
            if old is None or self._source.accepts_rollback or rollback(old.crl, offered.crl) is None:
                held[place] = offered
            else:
                detail = f"number {offered.held.number} follows number {old.held.number}"
                self._refuse(offered.file, Reason.ROLLBACK, detail)
        return tuple(sorted((one.held for one in held.values()), key=lambda one: (one.source, one.digest)))

    def _still_good(self, before: Sequence[Held]) -> Iterator[_Loaded]:
        for held in before:
            if held.source not in self._source.places:
                continue
            try:
                crl = open_index(self._evidence, held.digest)
            except (OSError, ValueError) as error:
                self._refuse(held.source, Reason.NOT_LOADED, f"the copy of the list is lost: {error}")
                continue
            if self._problem(crl) is None:
                yield _Loaded(held, crl)

    def _offered(self) -> Iterator[_Loaded]:
        for source in self._source.files:
            for path in self._paths(Path(source)):
                yield from self._read(source, path, str(path))
        if self._downloads is None:
            return
        for url in self._source.urls:
            path = download_path(self._downloads, url)
            if path.exists():  # where nothing came yet, whoever asks for it tells why
                yield from self._read(url, path, url)

    def _paths(self, source: Path) -> list[Path]:
        try:
            if not source.is_dir():
                return [source]
            found = sorted(
                path for path in source.iterdir() if path.suffix in LIST_SUFFIXES and not path.name.startswith(".")
            )
        except OSError as error:  # of this source alone: others' lists are to stay
            self._refuse(str(source), Reason.NOT_LOADED, f"it can't be looked at: {error.strerror}")
            return []
        if not found:
            self._refuse(str(source), Reason.NOT_LOADED, f"no file that ends in {', '.join(LIST_SUFFIXES)}")
        return found[:_MAX_FILES]

    def _read(self, source: str, path: Path, shown: str) -> Iterator[_Loaded]:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe would keep this process waiting
                self._refuse(shown, Reason.NOT_LOADED, "this is no regular file")
                return
            if status.st_size > 2 * MAX_CRL_SIZE:  # armour adds a third
                self._refuse(shown, Reason.TOO_LARGE, f"more than {2 * MAX_CRL_SIZE} bytes")
                return
            content = read_file(path)
        except OSError as error:
            self._refuse(shown, Reason.NOT_LOADED, f"the file can't be read: {error.strerror}")
            return
        blocks = read_blocks(content, CRL_LABEL)
        if not blocks:
            self._refuse(shown, Reason.PARSE_ERROR, "holds no CRL, neither PEM nor DER")
        for block in blocks:
            if block.problem:
                self._refuse(shown, Reason.PARSE_ERROR, f"line {block.line}: {block.problem}")
                continue
            loaded = self._index(source, shown, block.der)
            if loaded is not None:
                yield loaded

    def _index(self, source: str, shown: str, der: bytes) -> _Loaded | None:
        digest = hashlib.sha256(der).hexdigest()
        try:
            crl = self._opened(digest, der)
        except ValueError as error:
            is_large = len(der) > MAX_CRL_SIZE
            self._refuse(shown, Reason.TOO_LARGE if is_large else Reason.PARSE_ERROR, str(error))
            return None
        problem = self._problem(crl)
        if problem is None and crl.this_update > self._now + self._rules.skew:
            problem = Reason.NOT_YET_VALID
        if problem is not None:
            self._refuse(shown, problem, "")
            return None
        return _Loaded(_described(crl, digest, source), crl, shown)

    def _opened(self, digest: str, der: bytes) -> Crl:
        """Open the index of a list, which is made where the list is new.

        Raises:
            ValueError: the list can't be read.
        """
        with contextlib.suppress(OSError, ValueError):
            return open_index(self._evidence, digest)
        replace_file(self._evidence / digest, write_index(der))
        return open_index(self._evidence, digest)

    def _problem(self, crl: Crl) -> Reason | None:
        """Return why a list counts for nothing with this issuer, or None."""
        if crl.problem in {Reason.UNKNOWN_CRITICAL, Reason.BAD_SIGNATURE}:
            return crl.problem
        if crl.is_weak(self._now, self._rules):
            return Reason.WEAK_SIGNATURE
        reasons = [_signer_problem(crl, signer) for signer in self._signers]
        return None if None in reasons else most_specific(Reason.SIGNER_UNKNOWN, *filter(None, reasons))

    def _refuse(self, file: str, reason: Reason, detail: str) -> None:
        self.problems.append({"issuer": self._name, "file": file, "reason": str(reason), "detail": detail})


def _signer_problem(crl: Crl, signer: Certified) -> Reason | None:
    if signer.subject != crl.issuer:
        return Reason.SIGNER_UNKNOWN
    if not crl.is_signed_by(signer.key, signer.spki_sha256):
        return Reason.BAD_SIGNATURE
    return None if signer.may_sign_crls else Reason.CRL_SIGN_MISSING


def _described(crl: Crl, digest: str, source: str) -> Held:
    problem = crl.problem
    if crl.index.has_unknown_critical:
        problem = Reason.UNKNOWN_CRITICAL
    elif crl.number is None and not crl.is_version_1:
        problem = Reason.NUMBER_MISSING
    return Held(
        digest=digest,
        source=source,
        number=crl.number,
        this_update=crl.this_update,
        next_update=crl.next_update,
        entries=len(crl.index),
        is_delta=crl.is_delta,
        problem="" if problem is None else str(problem),
    )


def build(evidence: Path, sources: dict[str, Source], now: float, downloads: Path | None = None) -> dict[str, Any]:
    """Load the lists of all issuers and report; never raises, since a report must come whatever happens.

    Without `downloads`, URLs offer nothing.
    """
    try:
        before = read_manifest(evidence)
        manifest: dict[str, list[dict[str, Any]]] = {}
        problems: list[dict[str, str]] = []
        for name, source in sources.items():
            issuer = _Issuer(name, source, evidence, downloads, int(now))
            manifest[name] = [dataclasses.asdict(held) for held in issuer.lists(before.get(name, ()))]
            problems += issuer.problems
    except Exception as error:  # noqa: BLE001 -- a defect must reach the operator as a report
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    return {"manifest": manifest, "problems": problems}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job."""
    sources = sources_from_rows(job["sources"])
    return build(Path(job["evidence"]), sources, time.time(), Path(job["downloads"]))


if __name__ == "__main__":
    sys.exit(serve_jobs(work))
