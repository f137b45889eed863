"""Requests made up by chance, among them whatever somebody could send who means harm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from tests.differential.drawn_certificates import NOT_AFTER, NOT_BEFORE, TEXTS, Client, Draw, invented, with_oddities
from tests.differential.second_evaluator.words import MISSING, NULL, UNKNOWN, Request, World

__all__ = ["NOW", "somebody", "something", "world"]

#: Friday, 20 November 2026, 09:00 UTC; 10:00 in Paris.
NOW: Final = 1_795_165_200
SEGMENTS: Final = (
    *("admin", "admin", "Admin", "ADMIN", "administrator", "api", "API", "v1", "users", "n", "dmin", "a", "K", "k"),
    *(
        "caf%C3%A9",
        "caf%c3%a9",
        "CAF%C3%89",
        "cafe%CC%81",
        "stra%C3%9Fe",
        "strasse",
        "%E2%84%AA",
        "%EF%BD%81dmin",
        "o%C5%BF",
    ),
    *(
        "x%20y",
        "x%2520y",
        "%61dmin",
        "%2e%2e",
        "%2E",
        "..",
        ".",
        "...",
        "..;",
        "..;x",
        ".;x",
        ";",
        ";x",
        "a;x",
        "admin;x=1",
    ),
    *(
        "admin%2Fusers",
        "%5C",
        "%3B",
        "%25",
        "%00",
        "%1F",
        "%7F",
        "%C2%80",
        "%",
        "%4",
        "%zz",
        "%C3",
        "%FF",
        "%C0%AF",
        "%ED%A0%80",
    ),
    *(
        "%EF%BC%8F",
        "%EF%BC%9B",
        "%CD%BE",
        "%E2%84%80",
        "%EF%BC%8E%EF%BC%8E",
        "%E2%80%A5",
        "%EF%BC%BC",
        "%EF%BC%85",
        "a\\b",
        "a#b",
    ),
    *(
        "a b",
        "\xe9",
        "a\0",
        "a\x7f",
        "*",
        "a*",
        "%2A",
        "%F0%9F%98%80",
        "%f0%9f%98%80",
        "~",
        "%7E",
        "%7e",
        "a:b",
        "@",
        "a,b",
    ),
    *("%3F", "%40", "%E2%81%84", "%C2%A0", "admin%C2%A0", "%E2%80%8B", "%CE%BC", "%C2%B5", "%D0%B0dmin", "admi%6e"),
)
WHOLE: Final = (
    "/",
    "//",
    "/.",
    "/..",
    "/./",
    "",
    "*",
    "admin",
    "http://a.example/admin",
    "/admin//",
    "/admin/../api/v1",
    "/a/../../b",
)
METHODS: Final = (
    *(
        "GET",
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "PURGE",
        "get",
        "Get",
        "post",
        "delete",
    ),
    *("GET ", " POST", "", "PO\u00dfT", "purge", "read", "write", "*", "OPTION\xdf"),
)
HOSTS: Final = (
    *(
        "a.example",
        "b.example",
        "x.a.example",
        "y.x.a.example",
        "A.EXAMPLE",
        "a.example:443",
        "a.example.",
        "a.example.:8443",
    ),
    *("[2001:db8::1]", "[2001:DB8::1]:443", "10.0.0.1", "10.0.0.1:80"),
)
#: What TLS lets a client say.
SERVER_NAMES: Final = (*HOSTS[:7], "a.example ", "\xa0a.example", "A.Example.", "x.A.example", "", "\xaa.example")
BAD_HOSTS: Final = (
    *(
        "a.example:x",
        "a.example,b.example",
        "",
        "a..example",
        ".a.example",
        "a.example:99999",
        "a.example/x",
        "x@a.example",
    ),
    *(
        "a.example ",
        "[::1",
        "a.example:80:80",
        "a.ex\xe4mple",
        "a.example..",
        "[zz]",
        "a.example:\xb2",
        "-a.example",
        "x" * 64 + ".example",
    ),
)
SOURCES: Final = (
    *(
        "10.0.0.1",
        "10.20.3.4",
        "10.255.255.255",
        "11.0.0.0",
        "9.255.255.255",
        "::ffff:10.0.0.1",
        "::ffff:11.0.0.1",
        "0.0.0.0",
    ),
    *(
        "2001:db8::1",
        "2001:db9::1",
        "::1",
        "::",
        "::10.0.0.1",
        "64:ff9b::a00:1",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
)


def _at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())


#: Instants at which something begins or ends somewhere.
EDGES: Final = (
    *(
        NOW,
        _at(2026, 11, 21),
        _at(2027, 6, 1),
        NOT_BEFORE,
        NOT_AFTER,
        NOT_BEFORE + 3600,
        _at(2026, 10, 25, 1),
        _at(2026, 10, 25, 0),
    ),
    *(
        _at(2027, 3, 28, 1),
        _at(2027, 3, 28, 2),
        _at(2026, 11, 20, 7),
        _at(2026, 11, 20, 18),
        _at(2026, 11, 20, 21),
        _at(2026, 11, 21, 5),
    ),
    *(
        _at(2026, 11, 22, 23),
        _at(2026, 11, 1, 6),
        _at(2026, 11, 1, 5, 30),
        _at(2026, 3, 8, 7),
        _at(2026, 4, 4, 15),
        _at(2026, 10, 3, 15, 30),
    ),
    *(
        _at(2026, 11, 20, 18, 15),
        _at(2026, 11, 22),
        _at(2027, 1, 15),
        _at(2026, 10, 25, 0, 30),
        _at(2026, 10, 25, 1, 30),
    ),
)
STATES: Final = ("good", "good", "revoked", "unknown", "stale", "unreachable", "not_loaded", "undetermined")


def path(draw: Draw) -> str:
    """A path, half of them such as patterns are about."""
    if draw.often(0.04):
        return draw.choice(WHOLE)
    segments = SEGMENTS[:21] if draw.often(0.92) else SEGMENTS
    chosen = draw.choices(segments, k=draw.choice((1, 1, 2, 2, 3, 4)))
    if draw.often(0.03):
        chosen.insert(draw.randrange(len(chosen) + 1), "")
    return "/" + "/".join(chosen) + ("/" if draw.often(0.15) else "")


def sent(draw: Draw, value: Any, *, share: float = 0.85) -> Any:
    """Mostly the value, sometimes NULL, sometimes nothing."""
    return value if draw.often(share) else draw.choice((NULL, MISSING))


def something(draw: Draw, client: Client | None) -> Request:
    """Make up a request of this client; None has no certificate."""
    host = sent(draw, draw.choice(HOSTS if draw.often(0.96) else BAD_HOSTS))
    sni = draw.choice((NULL, NULL, MISSING, host, host)) if draw.often(0.95) else draw.choice(SERVER_NAMES)
    if sni is host and isinstance(host, str) and ":" in host:
        sni = NULL
    headers: dict[str, Any] = {}
    for name in ("x-team", "x-role"):
        if draw.often(0.6):
            headers[name] = draw.choice((NULL, UNKNOWN, *draw.sample(TEXTS, 4)))
    has_one = client is not None
    odd = draw.often(0.03)
    return Request(
        cert=client.certificate if client is not None else (NULL if draw.often(0.97) else MISSING),
        used=draw.choice((True, False, NULL, MISSING))
        if odd
        else draw.choice((has_one, has_one, NULL, MISSING))
        if has_one
        else sent(draw, value=False, share=0.9),
        verify=draw.choice((0, 1, 10, 23, NULL, MISSING)) if draw.often(0.03) else 0,
        resumed=draw.choice((True, False, NULL, MISSING)),
        src=sent(draw, draw.choice(SOURCES)),
        method=sent(draw, draw.choice(METHODS[:10] if draw.often(0.85) else METHODS), share=0.95),
        path=sent(draw, path(draw), share=0.93),
        host=host,
        sni=sni,
        tls=sent(draw, draw.choice(("TLSv1.2", "TLSv1.3", "TLSv1.3", "TLSv1.1", "tlsv1.3"))),
        headers=headers,
    )


def somebody(draw: Draw, known: tuple[Client, ...], clients: tuple[Client, ...]) -> Client | None:
    """Choose a client: one that the policy knows, another one with bytes, one made up, or none."""
    chance = draw.random()
    if chance < 0.6:
        return draw.choice(known if chance < 0.45 else clients)
    return Client(with_oddities(draw, invented(draw))) if chance < 0.88 else None


def world(draw: Draw) -> World:
    """Make up what isn't in the message."""
    good = draw.often(0.85)
    return World(
        now=draw.choice((NOW, NOW, NOW, draw.choice(EDGES) + draw.choice((-60, -1, 0, 0, 1, 59, 60)))),
        clock_usable=draw.often(0.98),
        open=frozenset(name for name in ("incident", "storm") if draw.often(0.4)),
        ocsp="good" if good else draw.choice(STATES),
        crl="good" if good else draw.choice([state for state in STATES if state != "unknown"]),
        blocks=frozenset(block(draw) for _ in range(draw.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, 1)))),
    )


def block(draw: Draw) -> tuple[str, Any]:
    """Make up a block."""
    return draw.choice(
        (("sha256", "aa" * 32), ("spki", "bb" * 32), ("serial", ("corp", 1)), ("serial", ("partners", 255)))
    )
