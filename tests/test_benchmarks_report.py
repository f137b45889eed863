"""What a run found is kept, drawn, and put into the pages that show it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import figures
from benchmarks.figures import PAGES, blocks_of, fill, tables
from benchmarks.plots import draw
from benchmarks.report import Report, machine
from benchmarks.shapes import SHAPES

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Plan:
    rounds: int = 1


def measured(cpu: float, p99: float = 100.0) -> dict[str, Any]:
    names = ("p50_us", "p999_us", "max_us")
    return {**dict.fromkeys(names, 10.0), "p99_us": p99, "per_second": 1e6 / cpu, "cpu_us": {"all": cpu}, "overdue": 0}


def way(haproxy: float, agent: float) -> dict[str, float]:
    row = dict.fromkeys(("p50_us", "added_us", "calm_p50_us", "calm_added_us"), 1.0) | {"disturbed": 0.0}
    return {**row, "haproxy_us": haproxy, "agent_us": agent, "cpu_us": haproxy + agent}


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A run in which the agent takes twice the floor's CPU, and three times its 99th percentile."""
    report = Report(machine(), Plan())
    for shape in SHAPES:
        report.shape(shape, {"floor": [measured(10)], "agent": [measured(20, 300)]})
    report.comparison("rules", {"10 rules": [measured(10)], "many": [measured(12) | {"disturbed": 0.5}]}, 1.1)
    report.limit("a worker at its start", 50, 60, "MB")
    ways = {"no authorization": way(25, 0), "floor agent": way(60, 10), "spoa-authz": way(60, 20)}
    report.proxy({"version": "3.4", "ways": ways, "targets": {"CPU": False}})
    return report.write(tmp_path)


def test_each_target_is_judged(capsys: pytest.CaptureFixture[str], result: Path) -> None:
    targets: dict[str, bool] = {}
    for shape in json.loads(result.read_text())["shapes"]:
        targets |= {f"{shape['name']}: {text}": is_met for text, is_met in shape["targets"].items()}
    assert targets == {
        "50x1, recurring: CPU <= 1.5 of the floor's: 2.00": False,
        "50x1, recurring: rate >= 0.75 of the floor's: 0.50": False,
        "4x20, recurring: >= 200,000 decisions a second of CPU: 50,000": False,
        "1x1, recurring: CPU <= 1.9 of the floor's: 2.00": False,
        "1x1, recurring: p99 <= 2.0 of the floor's: 3.00": False,
        "50x1, paths never seen: CPU <= 2.2 of the floor's: 2.00": True,
        "50x1, 5 % new certificates: CPU <= 4.0 of the floor's: 2.00": True,
        "50x1, 5 % new certificates: p99 <= 5.0 ms: 0.30": True,
    }
    told = capsys.readouterr().out
    assert "MISSED CPU with many <= 1.1 of that with 10 rules: 1.20" in told
    assert "met    a worker at its start <= 60 MB: 50.0" in told


def test_a_line_is_not_to_be_trusted_where_something_waited_for_a_core(
    capsys: pytest.CaptureFixture[str], result: Path
) -> None:
    lines = capsys.readouterr().out.splitlines()
    [warned] = [number for number, line in enumerate(lines) if "don't trust this line" in line]
    assert lines[warned - 1].startswith("rules: many")
    assert "50% of the time" in lines[warned]
    [comparison] = json.loads(result.read_text())["comparisons"]
    assert [one["disturbed"] for one in comparison["rounds"]["many"]] == [0.5]


def test_there_is_a_picture_of_each_kind_as_png_and_svg(result: Path) -> None:
    drawn = draw(result)
    assert [file.name.removeprefix(f"{result.stem}-") for file in drawn] == [
        f"{name}.{kind}" for name in ("throughput", "latency", "scaling", "haproxy") for kind in ("png", "svg")
    ]
    assert all(file.read_bytes().startswith((b"\x89PNG", b"<?xml")) for file in drawn)


def test_figures_stand_in_tables_and_what_was_missed_is_told(result: Path) -> None:
    written = tables(json.loads(result.read_text()))
    assert "**missed:** CPU <= 1.5 of the floor's: 2.00" in written["shapes"]
    assert "| rules: 10 rules → many | 10.0 | 12.0 | **1.20** | 1.1 |" in written["comparisons"]
    # 60 us of HAProxy and 20 of the agent: a core carries 12,500, of which the agent takes a quarter.
    assert "| 60 + 20 | 12,500 | 50,000 | 200,000 | 25% |" in written["capacity"]
    # A new path takes no more than a known one there.
    assert "| HAProxy 3.4, requests have a new path each | 60 + 20 | 12,500" in written["capacity"]
    assert "| HAProxy 3.4 | 16,667 | 3.0 | 3.0 |" in written["fleets"]
    assert "spoe" not in written


def test_a_machine_is_sized_from_what_was_measured(tmp_path: Path) -> None:
    """1,000 us a core each second: figures that one can work out in one's head."""
    report = Report(machine(), Plan())
    for shape in SHAPES:
        report.shape(shape, {"floor": [measured(10)], "agent": [measured(144 if "5 %" in shape.name else 20)]})
    report.proxy({"version": "3.4", "ways": {"no authorization": way(25, 0), "spoa-authz": way(60, 20)}, "targets": {}})
    part = json.loads(report.write(tmp_path).read_text())
    assert not {"sizing", "sizing-example"} & set(tables(part))
    report.limit("a worker at its start", 40, 60, "MB")
    report.limit("a worker after 10 distinct requests", 50, 150, "MB")
    report.limit("an entry of a list of 10, two workers", 50, 100, "bytes")
    found = tables(json.loads(report.write(tmp_path).read_text()))
    assert "| C | the agent: a certificate never seen, once in each worker | 2,500 us |" in found["sizing"]
    # 5,000 requests of 20 us; 20,000 certificates of 2,500 us in a minute; half of each core is to stay free.
    assert "| 0.10 cores |" in found["sizing-example"]
    assert "| 0.83 cores |" in found["sizing-example"]
    assert "| `--workers` | the sum / 0.5, rounded up | 2 |" in found["sizing-example"]
    # 3 x 40 + 2 x 245 MB, as by a soak; 2 x 200,000 x 50 + 1,000,000 x 39 bytes; 1,000,000 x 200 bytes.
    assert "| in all | 4 cores | 869 MB |" in found["sizing-example"]
    report.memory({"supervisor 1": 400 * 1024, "worker 2": 300 * 1024})
    found = tables(json.loads(report.write(tmp_path).read_text()))
    assert "| W | memory: a worker whose caches are full, at most | 300 MB |" in found["sizing"]


def test_only_blocks_that_have_figures_are_written_anew() -> None:
    blocks = [f"<!-- measured: {name} -->\nold\n<!-- end of measured -->\n" for name in ("one", "two")]
    page = "before\n" + "".join(blocks)
    assert fill(page, {"one": "new"}) == page.replace("old", "new", 1)
    assert blocks_of(page) == ["one", "two"]


def test_pages_ask_for_nothing_that_no_result_holds() -> None:
    known = set(figures._TABLES)
    asked = {name for page in PAGES for name in blocks_of(page.read_text())}
    assert asked == known


def test_what_was_measured_apart_is_not_told_as_what_one_core_carries(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- measured: capacity -->\nold\n<!-- end of measured -->\n")
    monkeypatch.setattr(figures, "PAGES", (page,))
    monkeypatch.setattr(figures, "_ROOT", tmp_path)
    found = json.loads(result.read_text())
    found["plan"]["proxy_apart"] = True
    (tmp_path / "apart.json").write_text(json.dumps(found))
    assert figures.main([str(tmp_path / "apart.json")]) == 2
    assert "HAProxy on the load's core" in capsys.readouterr().err
    assert "old" in page.read_text()
    assert figures.main([str(result)]) == 0
    assert "12,500" in page.read_text()
