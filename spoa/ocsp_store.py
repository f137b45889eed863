"""OCSP on disk: what a policy says about its responders, and the answers that survive a restart.

::

    bundles/N-REVISION/responders.json   whom the policy in that bundle wants to be asked about revocation, and how
    ocsp.sqlite                          the newest answer that counts, of each certificate

Answers are signed, and are judged anew when they are used: whoever could change the file could bring back an older
answer of the same CA, and no other.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.assurance import rules_of
from spoa.exceptions import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from spoa.policy.model import PolicyModel
    from spoa.revocation.ocsp_memory import CertificateKey

__all__ = [
    "OcspStore",
    "Responder",
    "StoredAnswer",
    "read_responders",
    "responders_of",
    "stored_answers",
    "write_responders",
]

_RESPONDERS: Final = "responders.json"
_VERSION: Final = 1
_MAX_ANSWERS: Final = 100_000
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    issuer TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    response BLOB NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, sha256)
)
"""


@dataclass(frozen=True, slots=True)
class Responder:
    """Whom to ask about the certificates of one issuer, and what to make of the answers.

    Attributes:
        url: of the responder; empty where certificates name it.
        hosts: that certificates may name.
        uses_get: questions go in the URL where it stays short enough.
        nonce: `off`, `send` or `require`.
        pinned: certificates of responders that need no delegation (DER, base64).
        rules: those of `spoa.revocation.Rules` that matter, by name.
    """

    url: str
    hosts: tuple[str, ...]
    uses_get: bool
    nonce: str
    pinned: tuple[str, ...]
    rules: Mapping[str, Any]


def responders_of(model: PolicyModel) -> dict[str, Responder]:
    """Return whom a policy wants to be asked, by issuer."""
    return {
        issuer.name: Responder(
            url=ocsp.responder,
            hosts=ocsp.aia_hosts,
            uses_get=ocsp.uses_get,
            nonce=ocsp.nonce,
            pinned=tuple(base64.b64encode(der).decode() for der in ocsp.pinned),
            rules=rules_of(issuer.revocation)._asdict(),
        )
        for issuer in model.issuers
        if (ocsp := issuer.revocation.ocsp) is not None
    }


def write_responders(responders: Mapping[str, Responder], bundle: Path) -> None:
    """Write down beside a bundle whom its policy wants to be asked."""
    (bundle / _RESPONDERS).write_text(json.dumps({issuer: asdict(one) for issuer, one in responders.items()}))


def read_responders(bundle: Path) -> dict[str, Responder]:
    """Return whom the policy of a bundle wants to be asked.

    Raises:
        StateError: the bundle can't be read.
    """
    try:
        rows = json.loads((bundle / _RESPONDERS).read_bytes())
        return {
            issuer: Responder(**{**row, "hosts": tuple(row["hosts"]), "pinned": tuple(row["pinned"])})
            for issuer, row in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(str(bundle / _RESPONDERS), f"can't be read ({error}); build the bundle again") from error


class StoredAnswer(NamedTuple):
    """One row."""

    key: CertificateKey
    response: bytes
    used_at: int


class OcspStore:
    """Answers in a SQLite file (mode 0600), one hundred thousand at most; used by one thread at a time.

    What can't be read is begun anew: then nothing is known, which is asked for again.

    Raises:
        StateError: the file can't be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = self._open()
        except (sqlite3.DatabaseError, OSError):
            self._set_aside()
            try:
                self._database = self._open()
            except (sqlite3.DatabaseError, OSError) as error:
                raise StateError(str(path), f"can't be written: {error}") from error
        self._at_most = self._count()  # what was replaced is counted twice, until it matters

    def get(self, key: CertificateKey) -> bytes | None:
        """Return the stored response (DER) about a certificate, or None.

        Raises:
            StateError: the file can't be read.
        """
        with self._failing():
            row = self._database.execute(
                "SELECT response FROM answers WHERE issuer = ? AND sha256 = ?", (key[0], key[1])
            ).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, answers: list[StoredAnswer]) -> None:
        """Keep answers; the least used go when there are too many.

        Raises:
            StateError: the file can't be written.
        """
        rows = [(*answer.key, answer.response, answer.used_at) for answer in answers]
        with self._failing(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
            self._at_most += len(rows)
            if self._at_most > _MAX_ANSWERS:
                self._at_most = self._thin_out()

    def _thin_out(self) -> int:
        """Make room where there is none, for more than one; return how many are left."""
        count = self._count()
        if count <= _MAX_ANSWERS:
            return count
        left = _MAX_ANSWERS - _MAX_ANSWERS // 20
        self._database.execute(
            "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY used_at LIMIT ?)", (count - left,)
        )
        return left

    def _count(self) -> int:
        (count,) = self._database.execute("SELECT COUNT(*) FROM answers").fetchone()
        return int(count)

    def close(self) -> None:
        """Write what is left, and close."""
        self._database.close()

    def _open(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        database = sqlite3.connect(self._path, check_same_thread=False)
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in {0, _VERSION}:
                raise sqlite3.DatabaseError(f"version {version} is not known here")  # noqa: TRY301 -- as SQLite says it
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            with database:
                database.execute(_SCHEMA)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute("SELECT COUNT(*) FROM answers").fetchone()
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            path = self._path.with_name(self._path.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                path.replace(path.with_name(f"{path.name}.unreadable"))

    @contextlib.contextmanager
    def _failing(self) -> Any:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(str(self._path), f"can't be used: {error}") from error


def stored_answers(path: Path, digests: Iterable[bytes]) -> list[StoredAnswer]:
    """Return what an agent has kept about certificates (SHA-256), beside it and without changing anything.

    Raises:
        StateError: the file is there and can't be read.
    """
    if not path.exists():
        return []
    select = "SELECT issuer, sha256, response, used_at FROM answers WHERE sha256 = ?"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = [row for digest in digests for row in database.execute(select, (digest,))]
    except sqlite3.Error as error:
        raise StateError(str(path), f"can't be read: {error}") from error
    return [
        StoredAnswer((issuer, bytes(sha256)), bytes(response), used_at) for issuer, sha256, response, used_at in rows
    ]
