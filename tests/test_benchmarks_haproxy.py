"""The benchmark through HAProxy measures what it says: every way judges right, and a wrong status is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.certificates import make_certificates
from benchmarks.loads import HttpsLoad
from benchmarks.policies import is_unlisted, services, write_policy, write_requests
from benchmarks.programs import AGENT_CORES, LOAD_CORES, BenchmarkError, compile_programs
from benchmarks.proxies import ENGINES, HAProxy, write_server_certificate
from benchmarks.through_haproxy import of_floor
from tests.haproxy_builds import haproxy_binary

if TYPE_CHECKING:
    from benchmarks.certificates import Certificates

ROOT = Path(__file__).resolve().parent.parent
RULES = 20


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("build")
    compile_programs(directory, ("https", "load", "floor"))
    return directory


@pytest.fixture(scope="module")
def certificates(build: Path) -> Certificates:
    return make_certificates(build, 200, 100)


@pytest.fixture
def load(build: Path, certificates: Certificates, tmp_path: Path) -> HttpsLoad:
    """Ten clients of which the last is on no list."""
    write_policy(tmp_path / "policies", certificates, RULES, 500)
    write_requests(tmp_path / "requests", 10, RULES, 400, first=90)
    return HttpsLoad(build, certificates, tmp_path / "requests", 10)


def started(way: str, certificates: Certificates, folder: Path) -> HAProxy:
    write_server_certificate(folder)
    listed = folder / "policies" / "lists" / "devices.txt"
    return HAProxy(haproxy_binary("2.8"), folder, certificates, within=ENGINES[way](folder, listed, RULES))


@pytest.mark.integration
@pytest.mark.parametrize("way", [way for way in ENGINES if way != "no authorization"])
def test_what_judges_without_an_agent_answers_every_request_as_its_line_says(
    way: str, load: HttpsLoad, certificates: Certificates, tmp_path: Path
) -> None:
    assert is_unlisted(99)
    assert list(services(RULES))
    with started(way, certificates, tmp_path) as proxy:
        found = load.run([proxy], 1.0, warm_up=0)
    assert found["acks"] > 0
    assert found["cpu_us"]["haproxy"] == found["cpu_us"]["all"] > 0


@pytest.mark.integration
@pytest.mark.parametrize("cores", [AGENT_CORES, LOAD_CORES])
def test_haproxy_runs_where_it_is_told_to(cores: set[int], certificates: Certificates, tmp_path: Path) -> None:
    write_server_certificate(tmp_path)
    with HAProxy(haproxy_binary("2.8"), tmp_path, certificates, cores=cores) as proxy:
        assert os.sched_getaffinity(proxy.process.pid) == cores


@pytest.mark.integration
def test_a_status_that_is_not_the_expected_one_ends_the_run(
    load: HttpsLoad, certificates: Certificates, tmp_path: Path
) -> None:
    with started("no authorization", certificates, tmp_path) as proxy:
        assert load.run([proxy], 0.3, warm_up=0, expect=200)["acks"] > 0
        with pytest.raises(BenchmarkError, match=r'"wrong_status":200'):
            load.run([proxy], 0.3, warm_up=0)


@pytest.mark.parametrize(
    ("count", "least", "most"), [(1, 1, 1), (5, 1, 5), (6, 1, 6), (8, 1, 8), (9, 2, 8), (16, 4, 13)]
)
def test_a_median_is_told_with_what_nineteen_in_twenty_such_spans_hold(count: int, least: int, most: int) -> None:
    """The places are those of tables of the sign test."""
    floor = [{"cpu_us": {"all": 2.0}} for _ in range(count)]
    rounds = [{"cpu_us": {"all": 2.0 * place}} for place in range(count, 0, -1)]
    assert of_floor(rounds, floor) == ((count + 1) / 2, least, most)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("is_apart", [False, True])
def test_the_agent_is_compared_with_all_that_needs_no_registry(build: Path, tmp_path: Path, *, is_apart: bool) -> None:
    sizes = "--certificates 200 --fresh 100 --rules 20 --listed 500 --revoked 1000"
    sizes += " --proxy-rounds 1 --proxy-seconds 1 --proxies 2.8" + (" --proxy-apart" if is_apart else "")
    command = [sys.executable, "benchmarks/agent.py", *sizes.split(), "--no-peers", "--parts", "proxy"]
    command += ["--build", str(build), "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = tmp_path.glob("*.json")
    found = json.loads(result.read_text())
    (proxy,) = found["proxies"]
    assert found["plan"]["proxy_apart"] is (", on the load's core," in done.stdout) is is_apart
    assert set(proxy["ways"]) == {
        *ENGINES, "floor agent", "floor, our variables", "the same, gathering", "spoa-authz",
    }  # fmt: skip
    assert all(way["haproxy_us"] > 0 for way in proxy["ways"].values())
    assert proxy["ways"]["floor agent"]["of_floor"] == 1.0
    assert proxy["ways"]["spoa-authz"]["agent_us"] > 0
    assert {file.name.partition("-haproxy")[2] for file in tmp_path.glob("*-haproxy.*")} == {".png", ".svg"}
