"""Evidence about revocation on disk: what a policy asks for, what was accepted, and the indexes that workers map.

::

    bundles/N-REVISION/sources.json   where the policy in that bundle wants its revocation lists from
    evidence/manifest.json            every list accepted, by issuer: what survives a restart, and what rolls back
    evidence/SHA-256                  the index of the list (DER) with that digest

Nothing in here is part of a policy's revision.
"""

from __future__ import annotations

import base64
import contextlib
import json
import mmap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spoa.assurance import Authorities
from spoa.exceptions import StateError
from spoa.revocation.crl import Crl
from spoa.revocation.crl_index import CrlIndex
from spoa.revocation.crl_judgement import fits
from spoa.revocation.status import Reason
from spoa.state import check_version, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spoa.issuers import Issuers
    from spoa.policy.model import PolicyModel

__all__ = [
    "Held",
    "Manifest",
    "Source",
    "collect_garbage",
    "evidence_from_text",
    "evidence_text",
    "fitting_deltas",
    "manifest_from_rows",
    "manifest_from_text",
    "manifest_text",
    "open_crls",
    "open_index",
    "read_manifest",
    "read_sources",
    "sources_from_rows",
    "sources_of",
    "write_manifest",
    "write_sources",
]

_SOURCES: Final = "sources.json"
_MANIFEST: Final = "manifest.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where one issuer's revocation lists come from, and whose they may be.

    Attributes:
        files: absolute paths of files and directories.
        urls: from where lists are fetched.
        signers: the CA certificates (DER, base64) that may have signed them.
        refresh: at most so many seconds between two looks at a URL.
        max_stale: seconds past nextUpdate for which a list still counts.
        max_age_without_next_update: seconds past thisUpdate for which one without nextUpdate counts.
        allows_sha1: signatures may use SHA-1.
        accepts_rollback: a list may follow one with a higher number.
    """

    files: tuple[str, ...]
    signers: tuple[str, ...]
    urls: tuple[str, ...] = ()
    refresh: int = 300
    max_stale: int = 0
    max_age_without_next_update: int = 0
    allows_sha1: bool = False
    accepts_rollback: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and directories, to be watched."""
        return tuple(Path(name) for name in self.files)

    @property
    def places(self) -> tuple[str, ...]:
        """The files, directories and URLs, as `Held.source` names them."""
        return (*self.files, *self.urls)

    @property
    def signer_ders(self) -> tuple[bytes, ...]:
        """The certificates that may have signed the lists, as DER."""
        return tuple(base64.b64decode(signer) for signer in self.signers)


@dataclass(frozen=True, slots=True)
class Held:
    """A revocation list that was accepted, and is in force until a newer one takes its place.

    Attributes:
        digest: SHA-256 of its DER, which names its index.
        source: the file, directory or URL, as the policy names it, that it came from.
        number: its CRLNumber; None without one.
        this_update, next_update: seconds since the epoch; the latter may be missing.
        entries: how many revocations it lists.
        is_delta: it adds to another list.
        problem: why it proves nothing by its silence, as `spoa.revocation` names it; empty when it may.
    """

    digest: str
    source: str
    number: int | None
    this_update: int
    next_update: int | None
    entries: int
    is_delta: bool = False
    problem: str = ""


#: Issuer → its lists.
Manifest = dict[str, tuple[Held, ...]]


def sources_of(model: PolicyModel, issuers: Issuers, directory: Path) -> dict[str, Source]:
    """Return where the policy of a directory wants its evidence from, by issuer."""
    authorities = Authorities(issuers)
    return {
        issuer.name: Source(
            files=tuple(str(directory.absolute() / name) for name in issuer.revocation.crl.files),
            urls=issuer.revocation.crl.urls,
            refresh=issuer.revocation.crl.refresh,
            signers=tuple(base64.b64encode(one.der).decode() for one in authorities.of(issuer.name)),
            max_stale=issuer.revocation.crl.max_stale,
            max_age_without_next_update=issuer.revocation.max_age_without_next_update or 0,
            allows_sha1=issuer.revocation.allows_sha1,
            accepts_rollback=issuer.revocation.accepts_rollback,
        )
        for issuer in model.issuers
        if issuer.revocation.crl is not None
    }


def write_sources(sources: Mapping[str, Source], bundle: Path) -> None:
    """Write down beside a bundle where its policy wants its evidence from."""
    rows = {issuer: asdict(source) for issuer, source in sources.items()}
    (bundle / _SOURCES).write_text(json.dumps(rows))


def sources_from_rows(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
    """Read sources from what JSON made of them."""
    return {
        issuer: Source(**{**row, **{key: tuple(row[key]) for key in ("files", "urls", "signers")}})
        for issuer, row in rows.items()
    }


def read_sources(bundle: Path) -> dict[str, Source]:
    """Return where the policy of a bundle wants its evidence from.

    Raises:
        StateError: the bundle can't be read.
    """
    try:
        return sources_from_rows(json.loads((bundle / _SOURCES).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(str(bundle / _SOURCES), f"can't be read ({error}); build the bundle again") from error


def manifest_text(manifest: Manifest) -> str:
    """Write a manifest as JSON."""
    rows = {issuer: [asdict(held) for held in lists] for issuer, lists in manifest.items()}
    return json.dumps(rows, sort_keys=True)


def manifest_from_text(text: str | bytes) -> Manifest:
    """Read what `manifest_text` wrote.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    return manifest_from_rows(json.loads(text))


def manifest_from_rows(rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> Manifest:
    """Read a manifest from what JSON made of it."""
    return {issuer: tuple(Held(**row) for row in lists) for issuer, lists in rows.items()}


def evidence_text(manifest: Manifest, outages: Mapping[str, str]) -> str:
    """Write for the workers what is in force, and why an issuer has no list where that is known (issuer → reason)."""
    return json.dumps({"lists": json.loads(manifest_text(manifest)), "outages": dict(outages)}, sort_keys=True)


def evidence_from_text(text: str | bytes) -> tuple[Manifest, dict[str, Reason]]:
    """Read what `evidence_text` wrote; an empty object stands for nothing at all.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    content = json.loads(text)
    outages = {issuer: Reason(reason) for issuer, reason in content.get("outages", {}).items()}
    return manifest_from_rows(content.get("lists", {})), outages


def read_manifest(evidence: Path) -> Manifest:
    """Return what was accepted before; nothing where that can't be read, since then nothing is known.

    Raises:
        StateError: a newer agent wrote it.
    """
    try:
        rows = json.loads((evidence / _MANIFEST).read_bytes())
        version = rows.get("version")
        if not isinstance(version, int):  # before there was one, issuers stood at the top
            return manifest_from_rows(rows)
        check_version(evidence / _MANIFEST, version, _VERSION)
        return manifest_from_rows(rows["lists"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_manifest(evidence: Path, manifest: Manifest) -> None:
    """Remember what is in force.

    Raises:
        StateError: the directory can't be written.
    """
    text = json.dumps({"version": _VERSION, "lists": json.loads(manifest_text(manifest))}, sort_keys=True)
    replace_file(evidence / _MANIFEST, text.encode())


def collect_garbage(evidence: Path, manifest: Manifest) -> None:
    """Remove the indexes that no list in force has; who has one mapped keeps it."""
    wanted = {_MANIFEST, *(held.digest for lists in manifest.values() for held in lists)}
    with contextlib.suppress(OSError):
        for path in evidence.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def open_index(evidence: Path, digest: str) -> Crl:
    """Map the index of a list.

    Raises:
        OSError, ValueError: it is not there, or damaged.
    """
    with (evidence / digest).open("rb") as file:
        return Crl(CrlIndex(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def open_crls(evidence: Path, manifest: Manifest, known: Iterable[Mapping[str, Crl]] = ()) -> dict[str, dict[str, Crl]]:
    """Return issuer → digest → list, of all lists in force; those in `known`, an earlier result, are not opened again.

    Raises:
        StateError: one can't be opened.
    """
    at_hand = {digest: crl for lists in known for digest, crl in lists.items()}
    found: dict[str, dict[str, Crl]] = {}
    for issuer, lists in manifest.items():
        for held in lists:
            try:
                crl = at_hand.get(held.digest) or open_index(evidence, held.digest)
            except (OSError, ValueError) as error:
                raise StateError(str(evidence / held.digest), f"can't be read: {error}") from error
            found.setdefault(issuer, {})[held.digest] = crl
    return found


def fitting_deltas(evidence: Path, manifest: Manifest) -> dict[str, frozenset[str]]:
    """Return which deltas may be applied to which complete list of the same issuer, by their digests.

    It opens the indexes of issuers that have deltas, which takes a thread's time; one that can't be opened fits none.
    """
    found: dict[str, frozenset[str]] = {}
    for lists in manifest.values():
        if not any(held.is_delta for held in lists):
            continue
        opened = {}
        for held in lists:
            with contextlib.suppress(OSError, ValueError):
                opened[held.digest] = open_index(evidence, held.digest)
        deltas = {digest: crl for digest, crl in opened.items() if crl.is_delta}
        for digest in opened.keys() - deltas.keys():
            found[digest] = frozenset(name for name, delta in deltas.items() if fits(delta, opened[digest]))
    return found
