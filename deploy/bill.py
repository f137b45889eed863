"""Writes the bill of materials of the image: that of the agent, and beside it what the image has of Debian.

What is there is what the image itself says in `/var/lib/dpkg/status.d`, one description a package, as images without a
dpkg have it and scanners read it. Version and SHA-256 of each package are the pins by which it can be had again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["STATUS", "components", "of_image", "purl"]

STATUS: Final = "var/lib/dpkg/status.d"
_OS_RELEASE: Final = "usr/lib/os-release"
_HASHES: Final = ".md5sums"


def _fields(text: str) -> dict[str, str]:
    """Return the fields of a Debian control file, of each the first line."""
    return dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", text, re.MULTILINE))


def _source(fields: Mapping[str, str]) -> tuple[str, str]:
    """Return name and version of the source, which advisories name; both are left out where they are the package's."""
    name, _, version = fields.get("Source", fields["Package"]).partition(" ")
    return name, version.strip("()") or fields["Version"]


def purl(fields: Mapping[str, str], release: str) -> str:
    """Return the package URL of a Debian package.

    Args:
        fields: of its control file.
        release: of Debian, such as `12`.
    """
    source, version = _source(fields)
    qualifiers = {"arch": fields["Architecture"], "distro": f"debian-{release}"}
    if source != fields["Package"]:
        qualifiers["upstream"] = source if version == fields["Version"] else f"{source}@{version}"
    said = "&".join(f"{name}={quote(value, safe='.-_~:')}" for name, value in sorted(qualifiers.items()))
    return f"pkg:deb/debian/{quote(fields['Package'], safe='.-_~')}@{quote(fields['Version'], safe='.-_~:')}?{said}"


def components(tree: Path) -> Iterator[dict[str, Any]]:
    """Give a CycloneDX component for each Debian package that is in a file tree, by name.

    Raises:
        OSError: the tree doesn't say what it is made of.
        KeyError: a description lacks a field.
    """
    release = _fields((tree / _OS_RELEASE).read_text().replace("=", ":"))["VERSION_ID"].strip('"')
    for path in sorted((tree / STATUS).iterdir()):
        if path.name.endswith(_HASHES):
            continue
        fields = _fields(path.read_text())
        name = purl(fields, release)
        yield {
            "bom-ref": name,
            "description": fields["Description"],
            "hashes": [{"alg": "SHA-256", "content": fields["SHA256"]}],
            "name": fields["Package"],
            "purl": name,
            "supplier": {"name": fields["Maintainer"]},
            "type": "library",
            "version": fields["Version"],
        }


def of_image(agent: Mapping[str, Any], tree: Path) -> dict[str, Any]:
    """Return the bill of materials of a file tree.

    Args:
        agent: that of the agent and of what Python needs for it, CycloneDX as JSON.
        tree: the root of the image.

    Raises:
        OSError: the tree doesn't say what it is made of.
        KeyError: a description lacks a field.
    """
    debian = list(components(tree))
    graph = [*agent["dependencies"], *({"ref": one["bom-ref"]} for one in debian)]
    return {**agent, "components": [*agent["components"], *debian], "dependencies": graph}
