"""What a line of the decision log costs: put together from parts that recur, and written as a whole.

Run it as `python benchmarks/logline.py` from the top of a clone. Nanoseconds of CPU, the best of several rounds, with
as many clients as stay in memory; what a thread and a file cost on top is not in it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that a clone is measured without installing it

from spoa.authorizer import Judgement, Standing
from spoa.facts import ABSENT, Certificate, Request
from spoa.logline import Entry, LineWriter, row_of
from spoa.logsinks.sink import encode
from spoa.policy.decision import Decision, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

_CLIENTS: Final = 500
_ROUNDS: Final = 40


def _entry(number: int) -> Entry:
    digest = number.to_bytes(32)
    certificate = Certificate(
        sha256=digest, sha1=digest[:20], spki_sha256=digest, serial=number, subject={}, dns_san=(), uri_san=(),
        email_san=(), ip_san=(), eku=ABSENT, policy_oids=ABSENT, is_ca=False, has_digital_signature=True,
        key_type="EC", key_bits=256, signature_hash="sha256", not_before=0, not_after=1_900_000_000,
        issuer_text="CN=Bench CA,O=Example", subject_text=f"CN=client-{number},OU=unit-01,O=Example",
    )  # fmt: skip
    decision = _DECISIONS[number % len(_DECISIONS)]
    judgement = Judgement(decision, Standing(certificate, "bench", None))
    request = Request(source=(0x0A000000 + number).to_bytes(4), method="GET", host="host", id=f"id-{number}")
    request.path = f"/svc-4/v1/items/{number}"
    return Entry(1_800_000_000.25 + number / 1000, 1e-4, request, judgement, "0123456789ab")


_DECISIONS: Final = [
    Decision(
        verdict="deny", status=403, reason="no_rule_allows", rule="", identity=f"unit-{number}", route="", shadow="",
        rules=(), log_reason="no_rule_allows", log_rule="", tally=Tally("deny", "no_rule_allows", "", ""),
    )
    for number in range(20)
]  # fmt: skip


def _nanoseconds(write: Callable[[Entry], bytes], entries: list[Entry]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time_ns()
        for entry in entries:
            write(entry)
        best = min(best, (time.process_time_ns() - began) / len(entries))
    return best


def main() -> None:
    entries = [_entry(number) for number in range(_CLIENTS)]
    print(f"{_nanoseconds(LineWriter().line, entries):8,.0f}  from parts")
    print(f"{_nanoseconds(lambda entry: encode(row_of(entry)), entries):8,.0f}  as a whole")


if __name__ == "__main__":
    main()
