"""The image's bill of materials: of the right form, what a real scanner finds, and of every file in it."""

from __future__ import annotations

import csv
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy import bill
from deploy.checks.conftest import only
from spoa._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
SBOM: Final = "usr/share/doc/spoa-authz/sbom.cdx.json"
#: What `deploy/oci/rootfs.sh` itself writes, and licences and settings, of which packages keep no hashes.
MADE: Final = ("usr/local/bin/spoa-authz", "etc/", "usr/share/doc/", f"{bill.STATUS}/")


@pytest.fixture(scope="module")
def document(tree: Path) -> dict[str, Any]:
    """Give the bill of materials that lies in the image."""
    found: dict[str, Any] = json.loads((tree / SBOM).read_text())
    return found


def test_it_has_the_form_of_cyclonedx_and_lies_beside_the_image_too(
    document: dict[str, Any], tree: Path, dist: Path
) -> None:
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 -- of the packages extra
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    text = (tree / SBOM).read_text()
    assert JsonStrictValidator(SchemaVersion.from_version(document["specVersion"])).validate_str(text) is None
    assert only(dist, "*.image.cdx.json").read_text() == text
    assert (document["metadata"]["component"]["name"], document["metadata"]["component"]["version"]) == (
        "spoa-authz",
        __version__,
    )


def test_a_scanner_finds_in_the_image_what_it_names_and_nothing_else(
    document: dict[str, Any], tree: Path, tmp_path: Path
) -> None:
    """Beside the agent itself, which is what the bill is of."""
    words = [str(Path(sys.executable).parent / "syft"), "scan", f"dir:{tree}", "--output", "json", "--quiet"]
    environment = {**os.environ, "HOME": str(tmp_path), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    found = json.loads(subprocess.run(words, env=environment, capture_output=True, check=True).stdout)
    assert (found["distro"]["id"], found["distro"]["versionID"]) == ("debian", "12")
    seen = {str(one["purl"]) for one in found["artifacts"]} - {f"pkg:pypi/spoa-authz@{__version__}"}
    named = {str(one["purl"]) for one in document["components"]}
    assert {name.partition("/")[0] for name in named} == {"pkg:deb", "pkg:pypi"}
    assert {name.replace("_", "-") for name in seen} == {name.replace("_", "-") for name in named}


def hashes(tree: Path) -> Iterator[tuple[str, str]]:
    """Give what Debian's packages say of their files that are in the image: name and MD5."""
    for path in (tree / bill.STATUS).glob("*.md5sums"):
        for line in path.read_text().splitlines():
            digest, _, name = line.partition("  ")
            yield name, digest


def test_every_file_of_the_image_belongs_to_something_that_it_names(tree: Path) -> None:
    of_debian = dict(hashes(tree))
    for name, digest in of_debian.items():
        assert hashlib.md5((tree / name).read_bytes()).hexdigest() == digest, name
    place = next(tree.glob("usr/local/lib/python3.*/dist-packages"))
    of_python = {
        str((place / row[0]).relative_to(tree))
        for record in place.glob("*.dist-info/RECORD")
        for row in csv.reader(record.read_text().splitlines())
        if not row[0].startswith("..")
    }
    files = {
        str(path.relative_to(tree))
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }
    lost = {name for name in files - of_debian.keys() - of_python if not name.startswith(MADE)}
    assert lost == set()


@pytest.fixture
def snapshots() -> Iterator[tuple[str, set[str]]]:
    """Give the address of an archive of Debian's past, and what it was asked for; what it has is today's Debian."""
    asked: set[str] = set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.add("/".join(self.path.split("/")[1:4]))
            archive, _, path = self.path.removeprefix("/archive/").split("/", 2)
            self.send_response(302)
            self.send_header("Location", f"http://deb.debian.org/{archive}/{path}")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/archive", asked
        server.shutdown()


def test_its_packages_can_be_had_as_they_were_at_a_time(
    document: dict[str, Any], snapshots: tuple[str, set[str]], wheel: Path, tmp_path: Path
) -> None:
    """All about Debian's; of Python's there is the one of which something is pruned."""
    address, asked = snapshots
    [pin] = re.findall(r"^pygments==(?:.*\n)(?: .*\n)*", (ROOT / "deploy/requirements.lock").read_text(), re.MULTILINE)
    (tmp_path / "lock").write_text(pin)
    words = ["sh", str(ROOT / "deploy/oci/rootfs.sh"), str(tmp_path / "tree"), str(wheel), str(tmp_path / "lock")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SNAPSHOTS": address, "SNAPSHOT": "20261101T000000Z"}
    subprocess.run(words, cwd=tmp_path, env=environment, check=True)
    assert asked == {"archive/debian/20261101T000000Z", "archive/debian-security/20261101T000000Z"}
    named = [one for one in document["components"] if one["purl"].startswith("pkg:deb/")]
    assert [one["name"] for one in bill.components(tmp_path / "tree")] == [one["name"] for one in named]
