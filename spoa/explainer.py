"""The process that explains requests for the console.

A job is `bundle`, `imposed`, `evidence`, `state` and `asked`. Its report is what `explain --json` prints, or `error`
with a sentence.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.blocks import BlockList
from spoa.bundle import open_bundle
from spoa.cli.evidence import with_answers
from spoa.cli.explained import explained_row
from spoa.cli.logged import Asked, asked_of
from spoa.cli.subjects import is_map, read_subject
from spoa.evidence_store import evidence_from_text, open_crls
from spoa.exceptions import SpoaError
from spoa.explanation import explain
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.jobs import serve_jobs
from spoa.openings import Openings
from spoa.pem import read_blocks
from spoa.policy.casegrammar import read_address, read_request_line
from spoa.recorded import read_decision

if TYPE_CHECKING:
    from spoa.authorizer import Policy

__all__ = ["MAX_TEXT", "explanation"]

#: Characters of a pasted certificate.
MAX_TEXT: Final = 1 << 16


def explanation(job: dict[str, Any]) -> dict[str, Any]:
    """Return the explanation that a job asks for; never raises, since an answer must come whatever was pasted."""
    try:
        policy = _policy(job)
        asked = _asked(job["asked"], policy, Path(job["state"]))
        return explained_row(explain(asked[0], asked[1].request, asked[1].now, subject=asked[1].subject,
                                     revocation=asked[1].revocation), *asked)  # fmt: skip
    except click.ClickException as error:
        return {"error": error.format_message()}
    except (SpoaError, ValueError) as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 -- a defect must reach whoever asked as a sentence
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _policy(job: dict[str, Any]) -> Policy:
    """Return the policy as the workers have it."""
    policy: Policy | None = None
    for opened in open_bundle(Path(job["bundle"]), None):
        policy = opened
    if policy is None:
        raise ValueError("the bundle holds no policy")
    manifest, outages = evidence_from_text(job["evidence"])
    crls = open_crls(Path(job["state"]) / "evidence", manifest)
    policy = policy.with_crls({issuer: tuple(lists.values()) for issuer, lists in crls.items()}, outages)
    imposed = job["imposed"]
    policy = policy.with_blocks(BlockList.from_text(imposed.get("block", "").encode()))
    openings = Openings.from_text(imposed.get("open", "").encode())
    policy.switches, _ = openings.in_force(policy.model.switches, int(time.time()))
    return policy


def _asked(asked: dict[str, Any], policy: Policy, state: Path) -> tuple[Policy, Asked]:
    """Return what is to be explained, and the policy with what is known about its certificate."""
    if "decision" in asked:
        decision = read_decision(json.dumps(asked["decision"]).encode())
        if decision is None:
            raise ValueError("this is no decision of the log")
        policy.switches = frozenset(decision.get("break_glass") or ())
        return policy, asked_of(decision, policy)
    text = str(asked.get("cert", "")).strip()
    if len(text) > MAX_TEXT:
        raise ValueError(f"the certificate is longer than {MAX_TEXT} characters")
    now = time.time()
    if is_map(text):
        return policy, Asked(_request(asked, None), now, read_subject(text, policy.model, int(now)), "good")
    der = _der(text) if text else None
    if der is not None:
        policy = with_answers(policy, state, der)
    return policy, Asked(_request(asked, der), now, None, "" if der is not None else "good")


def _der(text: str) -> bytes:
    blocks = read_blocks(text.encode(), "CERTIFICATE")
    if not blocks:
        raise ValueError("paste a certificate as PEM, beginning with -----BEGIN CERTIFICATE-----, or what it says as "
                         "{issuer: corp, cn: alice}")  # fmt: skip
    if blocks[0].problem:
        raise ValueError(f"line {blocks[0].line}: {blocks[0].problem}")
    return blocks[0].der


def _request(asked: dict[str, Any], der: bytes | None) -> Request:
    """Return the request that was typed in; what was left empty is unavailable."""
    line = str(asked.get("request", "")).strip()
    method: Any
    path: Any
    method, path = read_request_line(line) if line else (UNAVAILABLE, UNAVAILABLE)
    said = {key: str(asked.get(key, "")).strip() for key in ("source", "host", "sni", "tls")}
    return Request(
        cert=ABSENT if der is None else der,
        used=der is not None,
        verify=UNAVAILABLE if der is None else 0,
        source=read_address(said["source"]) if said["source"] else UNAVAILABLE,
        method=method,
        path=path,
        host=said["host"] or UNAVAILABLE,
        sni=said["sni"] or ABSENT,
        tls=said["tls"] or UNAVAILABLE,
        headers={},
    )


if __name__ == "__main__":
    sys.exit(serve_jobs(explanation))
