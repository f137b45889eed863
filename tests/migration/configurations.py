"""Configurations to draft from, and drafts of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.migration.drafting import choose_frontend, draft_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.haproxy_config.acl import Comparison
    from spoa.haproxy_config.proxies import Proxies
    from spoa.migration.drafting import Draft

__all__ = ["NOW", "comparison", "draft_of", "frontend", "proxies_of", "reading"]

#: 2026-11-20 at noon, in seconds since the epoch.
NOW: Final = 1_795_176_000


def reading(files: Mapping[str, bytes]) -> Callable[[str], bytes | None]:
    """Return how files are read that a configuration names."""
    return files.get


def frontend(*lines: str, verify: str = "required", backends: str = "") -> str:
    """Return a configuration with one frontend of these lines, and backends a, b and c."""
    bind = f"bind :443 ssl crt server.pem ca-file ca.pem verify {verify}"
    head = ["defaults", "    mode http", "frontend edge", f"    {bind}", *(f"    {line}" for line in lines)]
    return "\n".join([*head, *(f"backend {name}\n    mode http" for name in "abc"), backends]) + "\n"


def proxies_of(text: str) -> Proxies:
    """Read a configuration."""
    return read_proxies(read_configuration([("edge.cfg", text)], version="3.2", environment={}))


def draft_of(text: str, files: Mapping[str, bytes] | None = None, name: str = "") -> Draft:
    """Draft a policy."""
    configuration = read_configuration([("edge.cfg", text)], version="3.2", environment={})
    proxies = read_proxies(configuration)
    return draft_policy(configuration, proxies, choose_frontend(proxies, name), reading(files or {}), NOW)


def comparison(text: str) -> Comparison:
    """Read one test."""
    ((literal,),) = proxies_of(frontend(f"http-request deny if {{ {text} }}")).frontends[0].own[0].condition.terms
    return literal.acl.tests[0]
