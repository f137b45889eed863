"""A policy's own tests, run against it: requests with their verdicts, matrices and invariants.

A policy whose tests fail is not activated, so every failure is a problem in the report, at the line of the test.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from spoa.authorizer import Subject
from spoa.invariants import Search
from spoa.pem import read_blocks
from spoa.policy.cases import NO_CERTIFICATE, read_cases
from spoa.policy.reading import quoted, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spoa.authorizer import Policy
    from spoa.coverage import Coverage
    from spoa.facts import Request
    from spoa.policy.cases import Case, CaseFile, Expectation, Invariant, Specimen
    from spoa.policy.decision import Decision
    from spoa.policy.document import Node
    from spoa.policy.reading import Report

__all__ = ["Rehearsal", "Result", "rehearse"]


class Result(NamedTuple):
    """How one test came out.

    Attributes:
        name: as the test names itself; `matrix/CERT/REQUEST` for a cell of a matrix.
        kind: `test`, `matrix` or `invariant`.
        file, line: where it stands.
        passed: what came out is what was expected.
        expected, got: in words; of what is compared only.
        message: what is wrong, empty when it passed.
        seconds: how long it took, 0 where nobody measured.
    """

    name: str
    kind: str
    file: str
    line: int
    passed: bool
    expected: str
    got: str
    message: str
    seconds: float


@dataclass(slots=True)
class Rehearsal:
    """All results, in the order of the documents."""

    results: list[Result] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many tests failed."""
        return sum(not result.passed for result in self.results)


def rehearse(
    policy: Policy,
    tests: Mapping[str, bytes],
    read_fixture: Callable[[str], bytes | None],
    report: Report,
    *,
    now: float,
    clock: Callable[[], float] = lambda: 0.0,
    coverage: Coverage | None = None,
) -> Rehearsal:
    """Run every test of *tests* against *policy*; what fails or can't be read is an error in the report.

    Args:
        policy: to be tested.
        tests: file name → text of the tests documents, names relative to the policy directory.
        read_fixture: returns a certificate file by its name relative to the policy directory, or None.
        report: takes a problem `test-failed` for each failure.
        now: when requests come that don't say, seconds since the epoch.
        clock: by which tests are timed, seconds.
        coverage: is told of every request, if there is one.
    """
    files = [
        read for name in sorted(tests, key=str.encode) if (read := read_cases(tests[name], name, policy.model, report))
    ]
    stage = _Stage(policy, read_fixture, report, int(now), clock, coverage)
    for file in files:
        stage.play(file)
    return stage.rehearsal


class _Stage:
    """Runs the documents one after the other."""

    def __init__(
        self,
        policy: Policy,
        read_fixture: Callable[[str], bytes | None],
        report: Report,
        now: int,
        clock: Callable[[], float],
        coverage: Coverage | None,
    ) -> None:
        self.rehearsal = Rehearsal()
        self._policy = policy
        self._read_fixture = read_fixture
        self._report = report
        self._now = now
        self._clock = clock
        self._coverage = coverage

    def play(self, file: CaseFile) -> None:
        ders = {name: self._der(specimen) for name, specimen in file.specimens.items() if specimen.file}
        for case in file.cases:
            if ders.get(case.cert, b"") is None:
                continue  # the missing file is reported already
            self._play_case(case, file.specimens, ders)
        if file.invariants:
            search = Search(self._policy, file.invariants, self._now)
            for invariant in file.invariants:
                self._play_invariant(invariant, search)

    def _der(self, specimen: Specimen) -> bytes | None:
        """Return the certificate of a file; None, and a problem, when there is none."""
        content = self._read_fixture(specimen.file)
        node, path = specimen.place
        if content is None:
            message = f"there is no file {quoted(specimen.file)} in the policy directory"
            self._report.problem(node, path, message, "missing-fixture")
            return None
        blocks = read_blocks(content, "CERTIFICATE")
        if not blocks or blocks[0].problem:
            detail = blocks[0].problem if blocks else "it holds no certificate, neither PEM nor DER"
            self._report.problem(node, path, f"{quoted(specimen.file)} can't be read: {detail}", "bad-fixture")
            return None
        return blocks[0].der

    def _play_case(self, case: Case, specimens: Mapping[str, Specimen], ders: Mapping[str, bytes | None]) -> None:
        began = self._clock()
        now = self._now if case.now is None else case.now
        request, subject = _sent(case, specimens, ders.get(case.cert), now)
        decision = self._policy.judge(
            request, now, subject=subject, revocation=case.revocation, switches=case.switches
        ).decision
        if self._coverage is not None:
            self._coverage.see(request, now, subject=subject, revocation=case.revocation, switches=case.switches)
        wrong = dict(_differences(case.expectation, decision))
        expected, got = _told(wrong, 0), _told(wrong, 1)
        message = ""
        if wrong:
            matched = f"; rules that matched: {', '.join(decision.rules)}" if decision.rules else "; no rule matched"
            given = f"verdict {decision.verdict}, reason {decision.reason}"
            rule = f", rule {decision.rule}" if decision.rule else ""
            hints = "".join(self._hints(wrong))
            message = f"{quoted(case.name)} failed: expected {expected}, got {got} ({given}{rule}{matched}){hints}"
        kind = "matrix" if case.name.startswith("matrix/") else "test"
        verdict = f"verdict {case.expectation.verdict}"
        self._result(
            (case.name, kind, case.node, case.path),
            (expected or verdict, got or f"verdict {decision.verdict}", message),
            self._clock() - began,
        )

    def _hints(self, wrong: Mapping[str, tuple[object, object]]) -> Iterator[str]:
        """Yield what the writer may have meant by a name that the policy doesn't know."""
        model = self._policy.model
        known = {"rule": {rule.id for rule in model.rules}, "route": {route.backend for route in model.routes}}
        for key, names in known.items():
            wanted = str(wrong[key][0]) if key in wrong else ""
            if wanted and wanted not in names:
                yield f"; there is no {key} {quoted(wanted)}{suggestion(wanted, sorted(names))}"

    def _play_invariant(self, invariant: Invariant, search: Search) -> None:
        began = self._clock()
        outcome = search.look_for(invariant)
        for code, message in outcome.findings:
            self._report.problem(invariant.node, invariant.path, message, code, is_warning=True)
        holds = "no such request is allowed"
        unproved = holds if outcome.is_proved else "no such request was found, which is no proof"
        got = f"allowed: {outcome}" if outcome.witness else unproved
        message = f"{quoted(invariant.name)} does not hold: expected deny, got allow for {outcome}"
        self._result(
            (invariant.name, "invariant", invariant.node, invariant.path),
            (holds, got, message if outcome.witness else ""),
            self._clock() - began,
        )

    def _result(self, what: tuple[str, str, Node, str], told: tuple[str, str, str], seconds: float) -> None:
        name, kind, node, path = what
        expected, got, message = told
        if message:
            self._report.problem(node, path, message, "test-failed")
        passed = not message
        self.rehearsal.results.append(Result(name, kind, node.file, node.line, passed, expected, got, message, seconds))


def _sent(case: Case, specimens: Mapping[str, Specimen], der: bytes | None, now: int) -> tuple[Request, Subject | None]:
    """Return the request of a case, and the certificate where it is given as a map."""
    if case.cert == NO_CERTIFICATE:
        return case.request, None
    if der is not None:
        return replace(case.request, cert=der, used=True, verify=0), None
    specimen = specimens[case.cert]
    return case.request, Subject(specimen.at(now), specimen.issuer, specimen.lists)


def _differences(expectation: Expectation, decision: Decision) -> Iterator[tuple[str, tuple[object, object]]]:
    for key in ("verdict", "rule", "reason", "status", "route", "shadow"):
        wanted, found = getattr(expectation, key), getattr(decision, key)
        if wanted is not None and wanted != found:
            yield key, (wanted, found)


def _told(wrong: Mapping[str, tuple[object, object]], side: int) -> str:
    return ", ".join(f"{key} {values[side] if values[side] != '' else 'none'}" for key, values in wrong.items())
