"""Text becomes a value, or a sentence that says what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spoa import optiontexts
from spoa.addresses import Address

if TYPE_CHECKING:
    from collections.abc import Callable

#: What reads, a text, what it is.
GOOD: list[tuple[Callable[[str], Any], str, Any]] = [
    (optiontexts.read_addresses, "127.0.0.1:1 unix:/s", (Address("127.0.0.1", 1), Address("", 0, "/s"))),
    (optiontexts.read_optional_address, "none", None),
    (optiontexts.read_boolean, "Yes", True),
    (optiontexts.read_path, "a", Path("a")),
    (optiontexts.read_optional_path, "", None),
    (optiontexts.read_size, "2M", 2 << 20),
    (optiontexts.read_masked, "src, src", ("src",)),
    (optiontexts.read_share, "never", 0.0),
    (optiontexts.read_endpoint, "", ""),
    (optiontexts.read_networks, "any", ()),
    (optiontexts.read_networks, "::1,10.0.0.0/8", ("::1/128", "10.0.0.0/8")),
    (optiontexts.read_mode, "0666", 0o666),
    (optiontexts.read_owner, "", ""),
    (optiontexts.read_owner, "_apt", "_apt"),
    (optiontexts.read_owner, "1000", "1000"),
    (optiontexts.whole(1, 5), "5", 5),
    (optiontexts.seconds(0.1, 5), "0.5", 0.5),
    (optiontexts.one_of("a", "b"), "b", "b"),
]
#: What reads, a text that it refuses, and what is said of it.
BAD: list[tuple[Callable[[str], Any], str, str]] = [
    (optiontexts.read_addresses, "", "at least one address"),
    (optiontexts.read_boolean, "maybe", "true or false"),
    (optiontexts.read_path, "", "name a file"),
    (optiontexts.read_size, "2T", "such as 500K"),
    (optiontexts.read_masked, "who", "not 'who'"),
    (optiontexts.read_share, "101%", "a share such as 5%"),
    (optiontexts.read_endpoint, "ftp://x", "a URL such as"),
    (optiontexts.read_networks, "", "at least one address or network"),
    (optiontexts.read_networks, "10.0.0.1/8", "host bits set"),
    (optiontexts.read_mode, "888", "three octal digits"),
    (optiontexts.read_owner, "root\n", "name or number"),
    (optiontexts.whole(1, 5), "6", "from 1 to 5"),
    (optiontexts.seconds(0.1, 5), "inf", "from 0.1 to 5"),
    (optiontexts.one_of("a", "b"), "c", "one of a, b"),
]


@pytest.mark.parametrize(("read", "text", "value"), GOOD)
def test_a_text_is_read(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(("read", "text", "says"), BAD)
def test_a_text_that_means_nothing_is_refused(read: Callable[[str], Any], text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(text)
