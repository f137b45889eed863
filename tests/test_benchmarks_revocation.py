"""The benchmark of revocation lists measures what it says, on lists that are what they should be."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.lists import ODD_SERIALS, Population, Revoked, entries_of, listed_serials
from benchmarks.loads import Load
from benchmarks.memory import anonymous_size, mapping_of, peak_size
from benchmarks.programs import Floor, compile_programs
from spoa.revocation import check

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "benchmarks/revocation.py"]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("build")
    compile_programs(directory)
    return directory


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Population:
    return Population(tmp_path_factory.mktemp("pki"), 2, 3)


def test_a_list_has_the_entries_it_was_given_and_the_cas_signature(population: Population) -> None:
    entries = entries_of(1000)
    der = population.crl(entries, [Revoked(7, 1), Revoked(8)], 42)
    crl = x509.load_der_x509_crl(der)
    ca = x509.load_pem_x509_certificate(population.certificates.ca.read_bytes())
    key: Any = ca.public_key()
    assert crl.is_signature_valid(key)
    assert crl.issuer == ca.subject
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 42
    reasons = [len(entry.extensions) for entry in crl]
    assert (reasons.count(0), reasons.count(1)) == (501, 501)
    serials = {entry.serial_number for entry in crl}
    assert len(serials) == 1002
    assert all(serial > 2**120 for serial in serials - {7, 8})
    assert serials.issuperset(listed_serials(entries, 300))


def test_serial_numbers_that_no_ca_should_issue_are_on_the_lists(population: Population) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        crl = x509.load_der_x509_crl(population.crl(b"", ODD_SERIALS, 1))
        assert [entry.serial_number for entry in crl] == [0, -1, -(2**127)]


def test_clients_are_good_until_their_entry_is_on_a_list(population: Population) -> None:
    ca = x509.load_pem_x509_certificate(population.certificates.ca.read_bytes()).public_bytes(Encoding.DER)
    der, entry = population.leaving[0]
    others: tuple[Revoked, ...]
    for others, status in (((), "good"), ((entry,), "revoked")):
        crl = population.crl(entries_of(2), others, 1)
        assert check(der, [], anchors=[ca], crls=[crl], now=datetime.now(UTC)).status == status


def test_a_load_with_a_rate_keeps_it_and_ends_when_told(build: Path, population: Population, tmp_path: Path) -> None:
    (tmp_path / "requests").write_text("0 GET / 10.0.0.1 allow\n")
    load = Load(build, population.certificates, tmp_path / "requests", 2, 4, rate=200)
    with Floor(build) as floor:
        began = time.monotonic()
        process = load.start(floor, 60, warm_up=0)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        found = load.finish(process, floor, 1)
        elapsed = time.monotonic() - began
    assert 0 < found["acks"] <= 200 * elapsed + 1
    assert found["acks"] + found["withheld"] >= 200 * (found["seconds"] - found["late_max_us"] / 1e6 - 0.1)


def test_what_a_process_holds_is_read_from_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    file.write_bytes(bytes(1 << 20))
    code = (
        "import mmap,sys; f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,prot=1); m[:]; print(flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        mapped = mapping_of(process.pid, "mapped")
        assert mapped.file is not None
        assert mapped.file[1] == str(file.stat().st_ino)
        assert mapped.resident == mapped.proportional == 1 << 20
        assert mapping_of(process.pid, "other").file is None
        assert 0 < anonymous_size(process.pid) < peak_size(process.pid)
        process.communicate(b"\n")
    assert peak_size(process.pid) == 0


@pytest.mark.slow
def test_the_whole_run_ends_well(build: Path, tmp_path: Path) -> None:
    options = ["--sizes", "2000", "--rounds", "1", "--builds", "1", "--layouts", "one core,all cores"]
    command = [*PROGRAM, *options, "--build", str(build), "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = tmp_path.glob("revocation-*.json")
    (size,) = json.loads(result.read_text())["sizes"]
    assert size["search"]["odd"] == {"0": True, "-1": True, str(-(2**127)): True}
    assert [layout["name"] for layout in size["layouts"]] == ["one core", "all cores"]
    for layout in size["layouts"]:
        (found,) = layout["rounds"]
        assert 0 < found["first_deny"] <= found["all_deny"]
        assert found["load"]["allowed"] > found["load"]["denied"] > 0
        assert found["lag"]["opened"] == 1
        assert found["memory"]["disk"] > 2000 * 39
    assert "no request above 20 ms" in done.stdout


@pytest.mark.parametrize("options", [["--sizes", "3"], ["--layouts", "everywhere"]])
def test_what_cannot_be_measured_is_a_usage_error(options: list[str]) -> None:
    assert subprocess.run([*PROGRAM, *options], cwd=ROOT, capture_output=True, check=False).returncode == 2
