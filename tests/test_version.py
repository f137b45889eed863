"""The version, in one place."""

from __future__ import annotations

import datetime as dt
import re
import time
import tomllib
from pathlib import Path

import spoa
from spoa import _version


def test_the_version_is_a_version_and_public() -> None:
    assert spoa.__version__ == _version.__version__
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+([abc]|rc)?[0-9]*", spoa.__version__)


def test_the_build_reads_it_from_there() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "spoa/_version.py"
    assert project["project"]["dynamic"] == ["version"]


def test_the_build_date_is_a_midnight_that_has_been() -> None:
    date = dt.datetime.fromtimestamp(_version.BUILD_TIME, dt.UTC)
    assert (date.hour, date.minute, date.second) == (0, 0, 0)
    assert dt.datetime(2026, 1, 1, tzinfo=dt.UTC) < date
    assert time.time() > _version.BUILD_TIME
