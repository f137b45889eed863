"""The benchmark of the running agent measures what it says, and notices when it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import benchmarks.agent
import spoa
from benchmarks.certificates import make_certificates, unit_of
from benchmarks.loads import Load, stolen
from benchmarks.policies import SERIAL, write_policy, write_requests
from benchmarks.programs import Agent, BenchmarkError, Floor, compile_programs
from benchmarks.shapes import SHAPES
from spoa.facts import Request

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.certificates import Certificates

ROOT = Path(__file__).resolve().parent.parent
NOW = 1_900_000_000


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("build")
    compile_programs(directory)
    return directory


@pytest.fixture(scope="module")
def certificates(build: Path) -> Certificates:
    return make_certificates(build, 200, 100)


def test_what_was_measured_before_something_failed_is_kept(
    build: Path, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(bench: Bench) -> None:
        bench.report.limit("something", 1, 2, "MB")
        raise BenchmarkError("an answer was wrong")

    monkeypatch.setitem(benchmarks.agent._PARTS, "shapes", fails)
    options = "--quick --parts shapes --certificates 200 --fresh 100"
    words = ["agent.py", *options.split(), "--build", str(build), "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    assert benchmarks.agent.main() == 1
    [result] = tmp_path.iterdir()
    found = json.loads(result.read_text())
    assert [one["name"] for one in found["limits"]] == ["something"]
    assert "it ended early: an answer was wrong" in found["notes"]


def read_pack(pack: Path) -> list[bytes]:
    content, found = pack.read_bytes(), []
    while content:
        length = int.from_bytes(content[:4], "big")
        found.append(content[4 : 4 + length])
        content = content[4 + length :]
    return found


def test_certificates_are_made_once(build: Path, certificates: Certificates) -> None:
    before = certificates.usual.read_bytes()
    assert make_certificates(build, 200, 100).usual.read_bytes() == before
    assert len(read_pack(certificates.fresh)) == 100
    assert unit_of(21) == "unit-01"


@pytest.mark.parametrize("rules", [10, 200])
def test_the_policy_answers_every_request_as_its_line_says(
    certificates: Certificates, tmp_path: Path, rules: int
) -> None:
    write_policy(tmp_path / "policies", certificates, rules, 500)
    write_requests(tmp_path / "requests", 200, rules, 200, fresh_every=20)
    policy = spoa.load_policy(tmp_path / "policies")
    usual, fresh = read_pack(certificates.usual), iter(read_pack(certificates.fresh))
    verdicts = set()
    for line in (tmp_path / "requests").read_text().splitlines():
        number, method, path, source, verdict = line.split()
        der = next(fresh) if number == "*" else usual[int(number)]
        packed = bytes(map(int, source.split(".")))
        request = Request(cert=der, used=True, verify=0, source=packed, method=method, path=path)
        assert policy.judge(request, NOW).decision.verdict == verdict, line
        verdicts.add(verdict)
    assert verdicts == {"allow", "deny"}


def test_a_wrong_verdict_is_noticed(build: Path, certificates: Certificates, tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", certificates, 10, 500)
    (tmp_path / "requests").write_text("0 GET /nowhere 10.0.0.1 allow\n")
    load = Load(build, certificates, tmp_path / "requests", 1, 1)
    with Agent(tmp_path / "policies", tmp_path / "home") as agent, pytest.raises(BenchmarkError, match="wrong_verdict"):
        load.run(agent, 0.2, warm_up=0)


def test_requests_that_are_to_be_new_each_time_are_new(build: Path, certificates: Certificates, tmp_path: Path) -> None:
    """What the agent logs of its denies shows the serial numbers that the load put in."""
    write_policy(tmp_path / "policies", certificates, 10, 500)
    (tmp_path / "requests").write_text(f"0 GET /nowhere/{SERIAL} 10.0.0.1 deny\n")
    load = Load(build, certificates, tmp_path / "requests", 2, 2, all_arguments=True)
    with Agent(tmp_path / "policies", tmp_path / "home") as agent:
        assert load.meet(agent, 50)["denied"] == 50
    lines = [json.loads(line) for line in (tmp_path / "home" / "decisions.log").read_text().splitlines()]
    assert len({line["path"] for line in lines}) == 50
    assert len({line["id"] for line in lines}) == 50


def test_the_floor_answers_all_shapes(build: Path, certificates: Certificates, tmp_path: Path) -> None:
    write_requests(tmp_path / "requests", 200, 10, 200)
    with Floor(build) as floor:
        for connections, window in {(shape.connections, shape.window) for shape in SHAPES}:
            found = Load(build, certificates, tmp_path / "requests", connections, window).run(floor, 0.1, warm_up=0.05)
            assert found["allowed"] == found["acks"] > 0
            assert found["cpu_us"]["floor"] == found["cpu_us"]["all"] > 0


def test_a_policy_that_does_not_load_is_told(certificates: Certificates, tmp_path: Path) -> None:
    write_policy(tmp_path / "policies", certificates, 10, 500)
    (tmp_path / "policies" / "policy.yaml").write_text("apiVersion: other\n")
    with pytest.raises(BenchmarkError, match="does not become ready"):
        Agent(tmp_path / "policies", tmp_path / "home")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_whole_run_ends_well(build: Path, tmp_path: Path) -> None:
    sizes = "--rounds 1 --seconds 0.5 --certificates 200 --fresh 100 --rules 20 --listed 500 --revoked 1000 --reloads 1"
    sizes += " --many-rules 40 --many-listed 5000"
    command = [sys.executable, "benchmarks/agent.py", "--quick", "--parts", "shapes,reload", *sizes.split()]
    command += ["--build", str(build), "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = tmp_path.glob("*.json")
    found: dict[str, Any] = json.loads(result.read_text())
    assert [shape["name"] for shape in found["shapes"]] == [shape.name for shape in SHAPES]
    assert all(shape["ratios"]["cpu"] > 0 for shape in found["shapes"])
    assert all(shape["name"] in done.stdout for shape in found["shapes"])
    assert [len(reload["seconds"]) for reload in found["reloads"]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "expected"), [("cpu  9 9 9 9 9 9 9 {ticks} 0 0\ncpu0 1\n", 3.0), ("cpu  9\n", 0), ("", 0)]
)
def test_what_the_host_gave_to_others_is_known_where_the_kernel_tells(
    text: str, expected: float, tmp_path: Path
) -> None:
    ticks = 3 * os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)
    (tmp_path / "stat").write_text(text.format(ticks=ticks))
    assert stolen(tmp_path / "stat") == expected
    assert stolen(tmp_path / "none") == 0


def test_an_unknown_part_is_a_usage_error() -> None:
    command = [sys.executable, "benchmarks/agent.py", "--parts", "nothing"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 2
