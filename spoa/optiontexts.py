"""How the text of an option becomes its value. Each raises ValueError with a sentence that says what would be right."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spoa.addresses import Address, read_listen_address
from spoa.masking import MASKABLE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "one_of",
    "read_addresses",
    "read_boolean",
    "read_endpoint",
    "read_masked",
    "read_mode",
    "read_networks",
    "read_optional_address",
    "read_optional_path",
    "read_owner",
    "read_path",
    "read_share",
    "read_size",
    "seconds",
    "whole",
]

_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)%")
_WHOLE: Final = 100
_SIZE: Final = re.compile(r"(\d{1,12})([KMG]?)")
_SHIFTS: Final = {"": 0, "K": 10, "M": 20, "G": 30}
_MODE: Final = re.compile(r"0?([0-7]{3})")
#: What a user or group may be called, by useradd and adduser; or a number.
_OWNER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?")


def read_addresses(text: str) -> tuple[Address, ...]:
    """Read at least one address to listen at."""
    addresses = tuple(read_listen_address(part) for part in text.replace(",", " ").split())
    if not addresses:
        raise ValueError("name at least one address, as in 127.0.0.1:9123")
    return addresses


def read_optional_address(text: str) -> Address | None:
    """Read an address, or none."""
    return None if text == "none" else read_listen_address(text)


def read_boolean(text: str) -> bool:
    """Read true or false, in any of the usual words."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"write true or false, not {text!r}")
    return words[text.lower()]


def read_path(text: str) -> Path:
    """Read the path of a file or directory."""
    if not text or "\0" in text:
        raise ValueError("name a file or directory")
    return Path(text)


def read_optional_path(text: str) -> Path | None:
    """Read a path; may be empty."""
    return read_path(text) if text else None


def read_size(text: str) -> int:
    """Read a number of bytes, with K, M or G behind it."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"write bytes, or a size such as 500K, 100M or 2G, not {text!r}")
    return int(match[1]) << _SHIFTS[match[2]]


def read_masked(text: str) -> tuple[str, ...]:
    """Read names of fields that can be masked."""
    words = tuple(dict.fromkeys(text.replace(",", " ").split()))
    wrong = [word for word in words if word not in MASKABLE]
    if wrong:
        raise ValueError(f"what can be masked is {', '.join(MASKABLE)}, not {wrong[0]!r}")
    return words


def read_share(text: str) -> float:
    """Read a share: always, never or a percentage."""
    words = {"always": 1.0, "never": 0.0}
    if text in words:
        return words[text]
    match = _PERCENT.fullmatch(text)
    if match is None or float(match[1]) > _WHOLE:
        raise ValueError(f"write always, never or a share such as 5%, not {text!r}")
    return float(match[1]) / _WHOLE


def read_endpoint(text: str) -> str:
    """Read the URL of a collector; may be empty."""
    if text and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError(f"write a URL such as http://127.0.0.1:4318, not {text!r}")
    return text


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return what reads a whole number of a range."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not minimum <= int(text) <= maximum:
            raise ValueError(f"write a whole number from {minimum} to {maximum}, not {text!r}")
        return int(text)

    return read


def seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return what reads a number of a range."""

    def read(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) or not minimum <= float(text) <= maximum:
            raise ValueError(f"write a number from {minimum:g} to {maximum:g}, not {text!r}")
        return float(text)

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """Return what reads one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"write one of {', '.join(words)}, not {text!r}")
        return text

    return read


def read_networks(text: str) -> tuple[str, ...]:
    """Read addresses and networks, in their shortest form; `any` is everybody, and empty."""
    words = text.replace(",", " ").split()
    if words == ["any"]:
        return ()
    if not words:
        raise ValueError("name at least one address or network, such as 10.1.2.0/24, or any")
    try:
        return tuple(dict.fromkeys(str(ipaddress.ip_network(word)) for word in words))
    except ValueError as error:
        raise ValueError(
            f"write addresses and networks such as 10.1.2.3, 10.1.2.0/24 or 2001:db8::/32: {error}"
        ) from error


def read_mode(text: str) -> int:
    """Read the permissions of a file as chmod takes them."""
    match = _MODE.fullmatch(text)
    if match is None:
        raise ValueError(f"write three octal digits such as 660, not {text!r}")
    return int(match[1], 8)


def read_owner(text: str) -> str:
    """Read the name or number of a user or group; may be empty."""
    if text and not _OWNER.fullmatch(text):
        raise ValueError(f"write the name or number of a user or group, not {text!r}")
    return text
