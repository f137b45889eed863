"""The process that turns a policy directory into a bundle, so that no request waits for it.

A job is `directory`, `bundle`, and if need be `live` (the policy directory in use, where `directory` is an earlier
revision) and `keep` (where what was read is kept). Its report is `revision`, `digest`, `warnings`, `files` (what was
read) and `kept` (name and digest of each), or `problems`, or `error`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spoa.bundle import build_bundle
from spoa.exceptions import PolicyError, SpoaError
from spoa.history import keep_files
from spoa.jobs import serve_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.exceptions import Problem

__all__ = ["build", "work"]


def _rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(problem) for problem in problems]


def _digest(bundle: Path) -> str:
    """Return one hash over all files of a bundle: evidence changes it where the revision stays."""
    whole = hashlib.sha256()
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            whole.update(f"{path.relative_to(bundle)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def build(directory: Path, bundle: Path, live: Path | None = None, keep: Path | None = None) -> dict[str, Any]:
    """Build one bundle and report; never raises, since a report must come whatever happens."""
    try:
        report = build_bundle(directory, bundle, live=live)
        kept = {} if keep is None else keep_files(report.contents, keep)
    except PolicyError as error:
        return {"problems": _rows(error.problems)}
    except (SpoaError, OSError) as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 -- a defect must reach the operator as a report
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "revision": report.revision,
        "digest": _digest(bundle),
        "warnings": _rows(report.warnings),
        "files": report.files,
        "kept": kept,
    }


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job."""
    live, keep = (Path(job[name]) if job.get(name) else None for name in ("live", "keep"))
    return build(Path(job["directory"]), Path(job["bundle"]), live, keep)


if __name__ == "__main__":
    sys.exit(serve_jobs(work))
