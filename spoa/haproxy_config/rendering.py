"""Cuts the shipped configuration to one version of HAProxy and one policy."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from spoa.haproxy_config.arguments import message_arguments, omission_notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SHIPPED", "VERSIONS", "render"]

VERSIONS: Final = ("2.6", "2.8", "3.0", "3.2", "3.4")
#: The names of the files, under which `render` returns their text.
SHIPPED: Final = ("haproxy.cfg", "spoe-authz.conf")

_CONDITION: Final = re.compile(
    r"^\.if version_atleast\((?P<version>[\d.]+)\)\n(?P<then>.*?)(?:^\.else\n(?P<otherwise>.*?))?^\.endif\n",
    re.MULTILINE | re.DOTALL,
)
_MULTIPLEXER: Final = (3, 1)
#: Directives that the multiplexer of 3.1 and later accepts and ignores, with the comment above them.
_LEGACY_ONLY: Final = re.compile(r"\n\n    # Only HAProxy 2\.6 to 3\.0 reads .*?(?=\n\n)", re.DOTALL)
_ARGUMENTS: Final = re.compile(r"^    args .*$", re.MULTILINE)
_SECTION: Final = re.compile(r"^(?=(?:global|defaults|listen|frontend|backend)\b)", re.MULTILINE)
_BACKEND: Final = re.compile(r"^backend (\S+)")
_PRESET: Final = re.compile(r"^    presetenv (\w+) .*\n", re.MULTILINE)
#: Where an allowed request goes that the policy has no route for.
_WITHOUT_ROUTE: Final = "internal_api"
#: Backends that the file has for reasons of its own, and a name that its rules let no route have.
_OWN: Final = frozenset({"authz-denied", "authz-agents", "public_web", "stats"})


def render(version: str, reads: Iterable[str] | None = None, routes: Sequence[str] | None = None) -> dict[str, str]:
    """Return file name → text of a configuration that asks the agent and denies whatever is not allowed.

    Args:
        version: one of `VERSIONS`.
        reads: arguments that the policy reads (`Policy.reads`); all there are without it. A comment in the SPOE file
            says what is off because others are not sent.
        routes: backends that the policy names; those of the shipped example without it.

    Raises:
        ValueError: an unknown version, or an argument that no sample is known for.
    """
    if version not in VERSIONS:
        raise ValueError(f"version {version!r} is none of {', '.join(VERSIONS)}")
    number = _numbers(version)
    configuration, engine = (_shipped(name) for name in SHIPPED)
    configuration = _CONDITION.sub(
        lambda found: found["then"] if number >= _numbers(found["version"]) else found["otherwise"] or "", configuration
    )
    if number >= _MULTIPLEXER:
        engine = _LEGACY_ONLY.sub("", engine)
    if reads is not None:
        engine = _with_arguments(engine, frozenset(reads))
    if routes is not None:
        configuration = _with_backends(configuration, routes)
    used = configuration + engine
    configuration = _PRESET.sub(lambda preset: preset[0] if f"${{{preset[1]}}}" in used else "", configuration)
    return dict(zip(SHIPPED, (configuration, engine), strict=True))


def _shipped(name: str) -> str:
    return resources.files("spoa.haproxy_config").joinpath(name).read_text()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _with_arguments(engine: str, reads: frozenset[str]) -> str:
    """Send just what is read, and say above it what that costs."""
    notes = omission_notes(reads)
    if notes:
        notes = [
            "Sent is what the policy reads. What is not sent, and what is off because of it:",
            *(f"  {note}" for note in notes),
            "`spoa-authz haproxy-config` with --all, or without --policies, has everything sent.",
        ]
    lines = [*(f"    # {note}" for note in notes), f"    args {message_arguments(reads)}"]
    return _ARGUMENTS.sub("\n".join(lines), engine)


def _with_backends(configuration: str, routes: Sequence[str]) -> str:
    """Put a backend for each route in the place of the example's."""
    wanted = [name for name in dict.fromkeys([*routes, _WITHOUT_ROUTE]) if name not in _OWN]
    kept, shipped = [], {}
    for section in _SECTION.split(configuration):
        found = _BACKEND.match(section)
        if found is None or found[1] in _OWN:
            kept.append(section)
        else:
            shipped[found[1]] = section
    backends = (shipped.get(name) or _backend(name) for name in wanted)
    return "\n\n".join(section.strip("\n") for section in ("".join(kept), *backends)) + "\n"


def _backend(name: str) -> str:
    comment = "# The policy names this backend; say where it is."
    return f"backend {name} from authz-exempt\n    {comment}\n    server {name}1 127.0.0.1:8080\n"
