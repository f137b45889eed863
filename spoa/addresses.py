"""Addresses as options name them: a host and a port, the path of a unix socket, or a socket that systemd passes."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Address", "read_address", "read_listen_address"]

_PORT: Final = re.compile(r"\d{1,5}")
_LAST_PORT: Final = 65535
_PASSED: Final = re.compile(r"systemd:([\w.@-]{1,255})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and a TCP port, or the path of a unix socket (then `host` is empty, `port` 0).

    With `passed`, all that is known is the name under which the service manager passes sockets that listen already.
    """

    host: str
    port: int
    path: str = ""
    passed: str = ""

    def __str__(self) -> str:
        if self.passed:
            return f"systemd:{self.passed}"
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Say whether only this machine can reach it: a unix socket, a loopback address or `localhost`.

        Of one that is passed that can only be said when it is there.
        """
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_address(text: str) -> Address:
    """Read `127.0.0.1:9123`, `[::1]:9123`, `name:9123` or `unix:/path`; port 0 lets the system choose.

    Raises:
        ValueError: it is none of these.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError(
                f"a unix socket needs an absolute path, as in unix:/run/spoa-authz/spop.sock, not {text!r}"
            )
        return Address("", 0, path)
    host, separator, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets, as in [::1]:9123, not {text!r}")
    if not separator or not host or not _PORT.fullmatch(port) or int(port) > _LAST_PORT:
        raise ValueError(f"write HOST:PORT, [IPv6]:PORT or unix:/PATH, not {text!r}")
    return Address(host, int(port))


def read_listen_address(text: str) -> Address:
    """Read what `read_address` reads, or `systemd:NAME`: the sockets of that FileDescriptorName.

    Raises:
        ValueError: it is none of these.
    """
    if text.startswith("systemd:"):
        match = _PASSED.fullmatch(text)
        if match is None:
            raise ValueError(f"name a socket that systemd passes, as in systemd:spop, not {text!r}")
        return Address("", 0, passed=match[1])
    return read_address(text)
