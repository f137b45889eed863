"""Packs a file tree as an OCI image archive (image-spec 1.1): one layer, its configuration, a manifest and an index.

What an engine would record when it builds the Containerfile is read from that file, so that both say the same.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CONTAINERFILE", "configuration", "write_archive"]

CONTAINERFILE: Final = Path(__file__).parent / "oci" / "Containerfile"

_TYPE: Final = "application/vnd.oci.image."
_SECOND: Final = 1_000_000_000  # nanoseconds, in which the configuration counts


def configuration(text: str) -> dict[str, Any]:
    """Return what the last stage of a Containerfile says of how to run it: the `config` of the image.

    Raises:
        KeyError: a line that isn't known here.
    """
    found: dict[str, Any] = {"Env": [], "ExposedPorts": {}, "Labels": {}, "Volumes": {}}
    stage = text[text.rindex("\nFROM ") :].replace("\\\n", " ")
    for line in stage.strip().splitlines():
        word, _, rest = line.strip().partition(" ")
        if word in {"", "FROM", "COPY"} or word.startswith("#"):
            continue
        _KNOWN[word](found, rest.strip())
    return found


def _pairs(rest: str) -> Iterator[tuple[str, str]]:
    for name, quoted, plain in re.findall(r'([\w.]+)=(?:"([^"]*)"|(\S+))', rest):
        yield name, quoted or plain


def _health(rest: str) -> dict[str, Any]:
    options, _, command = rest.partition("CMD ")
    found: dict[str, Any] = {"Test": ["CMD", *json.loads(command)]}
    names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    for name, seconds in re.findall(r"--([\w-]+)=(\d+)s", options):
        found[names[name]] = int(seconds) * _SECOND
    return found


_KNOWN: Final = {
    "ENV": lambda found, rest: found["Env"].extend(f"{name}={value}" for name, value in _pairs(rest)),
    "LABEL": lambda found, rest: found["Labels"].update(_pairs(rest)),
    "EXPOSE": lambda found, rest: found["ExposedPorts"].update({f"{port}/tcp": {} for port in rest.split()}),
    "VOLUME": lambda found, rest: found["Volumes"].update({path: {} for path in json.loads(rest)}),
    "USER": lambda found, rest: found.update(User=rest),
    "WORKDIR": lambda found, rest: found.update(WorkingDir=rest),
    "STOPSIGNAL": lambda found, rest: found.update(StopSignal=rest),
    "ENTRYPOINT": lambda found, rest: found.update(Entrypoint=json.loads(rest)),
    "CMD": lambda found, rest: found.update(Cmd=json.loads(rest)),
    "HEALTHCHECK": lambda found, rest: found.update(Healthcheck=_health(rest)),
}


def _layer(tree: Path, seconds: int) -> bytes:
    """Return the tree as a tar archive: sorted, with no time but the release's, by numbers and not by names."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = seconds
        member.uname = member.gname = ""
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(tree.rglob("*")):
            archive.add(path, str(path.relative_to(tree)), recursive=False, filter=plain)
    return buffer.getvalue()


def write_archive(tree: Path, target: Path, version: str, seconds: int) -> None:
    """Write an archive for `podman load`, `skopeo` and their like; the same tree makes the same archive.

    Args:
        tree: the root of the image.
        target: the archive.
        version: its tag.
        seconds: since the epoch, when everything in it was made.
    """
    blobs: dict[str, bytes] = {}

    def keep(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": _TYPE + kind, "digest": f"sha256:{digest}", "size": len(content)}

    layer = _layer(tree, seconds)
    created = datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    config = {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": configuration(CONTAINERFILE.read_text()),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": created, "created_by": "deploy/oci/rootfs.sh"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _TYPE + "manifest.v1+json",
        "config": keep(json.dumps(config, sort_keys=True).encode(), "config.v1+json"),
        "layers": [keep(gzip.compress(layer, mtime=0), "layer.v1.tar+gzip")],
    }
    described = keep(json.dumps(manifest, sort_keys=True).encode(), "manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": f"spoa-authz:{version}"}
    index = {"schemaVersion": 2, "mediaType": _TYPE + "index.v1+json", "manifests": [described]}
    blobs["index.json"] = json.dumps(index, sort_keys=True).encode()
    blobs["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    with tarfile.open(target, "w") as archive:
        for name, content in sorted(blobs.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), seconds, 0o644
            archive.addfile(member, io.BytesIO(content))
