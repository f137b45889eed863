"""The image's bill of materials: every Debian package that the image says it has, as scanners name it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy import bill

if TYPE_CHECKING:
    from pathlib import Path

#: As Debian writes them: a source of another name and version, an epoch, a plus, a tilde.
CONTROLS: Final = {
    "libuuid1": (
        "Package: libuuid1\nSource: util-linux (1:2.38.1-5)\nVersion: 2.38.1-5+deb12u3\nArchitecture: amd64\n"
        "Maintainer: util-linux packagers <util-linux@packages.example>\n"
        "Description: Universally Unique ID library\n Version: not this one\n .\n More.\nSHA256: 1111\n"
    ),
    "zlib1g": (
        "Package: zlib1g\nSource: zlib\nVersion: 1:1.2.13.dfsg-1\nArchitecture: amd64\nMaintainer: Mark <m@example>\n"
        "Description: compression library - runtime\nSHA256: 2222\n"
    ),
    "ca-certificates": (
        "Package: ca-certificates\nVersion: 20250419~deb12u2\nArchitecture: all\nMaintainer: Julien <j@example>\n"
        "Description: Common CA certificates\nSHA256: 3333\n"
    ),
}
PURLS: Final = [
    "pkg:deb/debian/ca-certificates@20250419~deb12u2?arch=all&distro=debian-12",
    "pkg:deb/debian/libuuid1@2.38.1-5%2Bdeb12u3?arch=amd64&distro=debian-12&upstream=util-linux%401:2.38.1-5",
    "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12&upstream=zlib",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give the root of an image that has three packages."""
    (tmp_path / bill.STATUS).mkdir(parents=True)
    for name, text in CONTROLS.items():
        (tmp_path / bill.STATUS / name).write_text(text)
        (tmp_path / bill.STATUS / f"{name}.md5sums").write_text("0  usr/lib/x\n")
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "os-release").write_text('PRETTY_NAME="Debian"\nVERSION_ID="12"\nID=debian\n')
    return tmp_path


def test_every_package_of_debian_has_its_name_version_hash_and_url(tree: Path) -> None:
    found = list(bill.components(tree))
    assert [one["purl"] for one in found] == PURLS
    assert [(one["name"], one["version"]) for one in found] == [
        ("ca-certificates", "20250419~deb12u2"),
        ("libuuid1", "2.38.1-5+deb12u3"),
        ("zlib1g", "1:1.2.13.dfsg-1"),
    ]
    assert [one["hashes"][0]["content"] for one in found] == ["3333", "1111", "2222"]


def test_what_python_needs_stays_and_each_reference_is_of_one_component(tree: Path) -> None:
    agent: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "components": [{"bom-ref": "rich==15", "name": "rich", "type": "library"}],
        "dependencies": [{"ref": "rich==15"}],
    }
    document = bill.of_image(agent, tree)
    assert [one["name"] for one in document["components"]] == ["rich", "ca-certificates", "libuuid1", "zlib1g"]
    assert [one["ref"] for one in document["dependencies"]] == [one["bom-ref"] for one in document["components"]]
    assert document["bomFormat"] == "CycloneDX"


def test_an_image_that_does_not_say_what_it_is_made_of_has_no_bill(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="os-release"):
        list(bill.components(tmp_path))
