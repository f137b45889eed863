"""What servers may do to those who ask them, and what comes of it."""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from spoa.circuit import MAX_FAILURES
from spoa.egress import Permit, read_target
from spoa.fetch import Fetcher, FetchError, FetchProblem, Limits
from tests.fetching import LIMITS, ask, fetching, names, problem, refused
from tests.httpservers import Background, Server, close_halfway, drip, endless, hang, head, lying, plain, raw, sequence
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spoa.fetch import Answer
    from tests.httpservers import Request


def test_what_a_server_answers_comes_with_its_validators() -> None:
    modified = "Sat, 28 Nov 2026 12:00:00 GMT"
    answer, requests = ask(plain(b"body", ETag='"1"', Last_Modified=modified))
    assert answer == (200, b"body", '"1"', modified)
    (request,) = requests
    assert (request.method, request.path, request.body) == ("GET", "/a?b=c", b"")
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("spoa-authz/")


def test_a_body_is_posted_with_its_headers() -> None:
    answer, requests = ask(plain(b"yes"), body=b"question", headers={"Content-Type": "application/ocsp-request"})
    assert answer == (200, b"yes", "", "")
    (request,) = requests
    assert (request.method, request.body) == ("POST", b"question")
    assert request.headers["content-type"] == "application/ocsp-request"


def test_a_sink_takes_the_body_piece_by_piece() -> None:
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    answer, _ = ask(plain(b"x" * 300_000), Limits(total=5, max_size=300_000), sink=take)
    assert answer == (200, b"", "", "")
    assert b"".join(pieces) == b"x" * 300_000
    assert len(pieces) > 1


def test_what_a_sink_raises_is_no_fault_of_the_server() -> None:
    async def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def scenario() -> None:
        async with Server(plain(b"body")) as server, fetching() as fetcher:
            for _ in range(MAX_FAILURES + 1):
                with pytest.raises(OSError, match="No space"):
                    await fetcher.fetch(read_target(server.url()), limits=LIMITS, sink=full)

    asyncio.run(scenario())


def test_nothing_has_changed_where_a_condition_was_stated() -> None:
    answer, requests = ask(raw(head(304, {"ETag": '"2"'})), headers={"If-None-Match": '"2"'})
    assert answer == (304, b"", '"2"', "")
    assert requests[0].headers["if-none-match"] == '"2"'


@pytest.mark.parametrize("value", ["x" * 201, "caf\xe9"])
def test_a_validator_that_could_not_be_repeated_is_forgotten(value: str) -> None:
    answer, _ = ask(plain(b"body", ETag=value))
    assert answer == (200, b"body", "", "")


@pytest.mark.parametrize("status", [201, 204, 206, 304, 404, 500])
def test_any_status_but_200_is_a_problem(status: int) -> None:
    found = problem(plain(status=status))
    assert (found.kind, found.status) == (FetchProblem.STATUS, status)
    assert str(found).endswith(f"failed: the server answers {status}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    found, requests = ask(plain(b"", status, Location="http://127.0.0.1:1/"))
    assert isinstance(found, FetchError)
    assert (found.kind, found.status) == (FetchProblem.REDIRECT, status)
    assert len(requests) == 1


def test_a_server_that_never_answers_is_given_up() -> None:
    found = problem(hang, Limits(total=0.1, max_size=10))
    assert (found.kind, found.detail) == (FetchProblem.TIMEOUT, "no whole answer within 0.1 s")


def test_a_server_that_pauses_is_given_up() -> None:
    found = problem(hang, Limits(total=5, max_size=10, silence=0.1))
    assert (found.kind, found.detail) == (FetchProblem.TIMEOUT, "the server sent nothing for 0.1 s")


def test_a_body_that_drips_is_given_up() -> None:
    limits = Limits(total=5, max_size=1000, silence=1, min_rate=1000, grace=0.1)
    found = problem(drip(b"x" * 1000, 0.02), limits)
    assert found.kind is FetchProblem.TOO_SLOW
    assert "fewer than 1000 a second" in found.detail


def test_a_slow_body_has_its_grace() -> None:
    answer, _ = ask(drip(b"slow", 0.01), Limits(total=5, max_size=10, min_rate=1e6, grace=4))
    assert answer == (200, b"slow", "", "")


def test_a_body_that_never_ends_is_given_up_at_its_limit() -> None:
    taken: list[int] = []

    async def take(piece: bytes) -> None:
        taken.append(len(piece))

    found = problem(endless, sink=take)
    assert (found.kind, found.detail) == (FetchProblem.TOO_LARGE, "the answer has more than 1000 bytes")
    assert sum(taken) <= 1000


def test_a_body_of_just_the_limit_is_taken() -> None:
    answer, _ = ask(plain(b"x" * 1000))
    assert answer == (200, b"x" * 1000, "", "")
    assert problem(plain(b"x" * 1001)).kind is FetchProblem.TOO_LARGE


def test_a_body_that_is_announced_as_too_large_is_not_waited_for() -> None:
    assert problem(raw(head(200, {"Content-Length": "1001"}))).kind is FetchProblem.TOO_LARGE


def test_a_body_that_is_shorter_than_announced_is_none() -> None:
    found = problem(close_halfway(b"x" * 100))
    assert found.kind is FetchProblem.PROTOCOL
    assert "broke off" in found.detail


def test_what_comes_behind_the_announced_end_is_taken_for_no_other_answer() -> None:
    smuggled = b"real" + head(200, {"Content-Length": "4"}) + b"fake"

    async def scenario() -> None:
        async with Server(sequence(lying(smuggled, 4), plain(b"next"))) as server, fetching() as fetcher:
            for expected in (b"real", b"next"):
                assert (await fetcher.fetch(read_target(server.url()), limits=LIMITS)).body == expected

    asyncio.run(scenario())


def test_nothing_is_unpacked() -> None:
    bomb = zlib.compress(bytes(1_000_000))
    assert len(bomb) < 1000
    found = problem(plain(bomb, Content_Encoding="gzip"), Limits(total=5, max_size=10_000))
    assert found.kind is FetchProblem.PROTOCOL
    assert "packed (gzip)" in found.detail


@pytest.mark.parametrize(
    "answer",
    [b"\x16\x03\x01\x00\x02\x02\x28\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"220 ftp\r\n\r\n"],
)
def test_what_is_not_http_is_a_problem(answer: bytes) -> None:
    found = problem(raw(answer, closes=True))
    assert found.kind is FetchProblem.PROTOCOL
    assert found.detail.isprintable()


def test_a_head_that_never_ends_is_given_up() -> None:
    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Field: " + b"x" * 4000 + b"\r\n")
            await writer.drain()

    assert problem(answer, Limits(total=2, max_size=10)).kind in {FetchProblem.PROTOCOL, FetchProblem.TIMEOUT}


def test_a_server_that_closes_without_an_answer_is_a_problem() -> None:
    found = problem(raw(b"", closes=True))
    assert (found.kind, found.detail) == (FetchProblem.PROTOCOL, "the server closed the connection without an answer")


def test_a_port_where_nobody_listens_is_a_problem() -> None:
    async def scenario() -> FetchError:
        async with Server() as server:
            url = server.url()
        async with fetching() as fetcher:
            return await refused(fetcher, url)

    assert asyncio.run(scenario()).kind is FetchProblem.CONNECT


def test_a_connection_that_does_not_come_about_is_given_up() -> None:
    async def never(_: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def scenario() -> FetchError:
        async with fetching(never) as fetcher:
            return await refused(fetcher, "http://a.example/", Limits(total=5, max_size=1, connect=0.1))

    found = asyncio.run(scenario())
    assert (found.kind, found.detail) == (FetchProblem.CONNECT, "no connection within 0.1 s")


@pytest.mark.parametrize("lookup", [names(), names(a_example="")])
def test_a_name_without_an_address_is_a_problem(lookup: Any) -> None:
    async def scenario() -> FetchError:
        async with fetching(lookup) as fetcher:
            return await refused(fetcher, "http://a.example/")

    found = asyncio.run(scenario())
    assert found.kind is FetchProblem.DNS
    assert "a.example has no address" in found.detail


@pytest.mark.parametrize("host", ["2130706433", "127.1"])
def test_a_number_that_some_take_for_an_address_is_none(host: str) -> None:
    async def scenario() -> FetchError:
        async with Server() as server, fetching(names()) as fetcher:
            return await refused(fetcher, server.url(host=host), permit=Permit.of([f"{host}:{server.port}"]))

    assert asyncio.run(scenario()).kind is FetchProblem.DNS


def test_the_systems_names_are_looked_up_where_nothing_else_is_said() -> None:
    async def scenario() -> Answer:
        async with Server(plain(b"here")) as server, fetching() as fetcher:
            return await fetcher.fetch(read_target(server.url(host="localhost")), limits=LIMITS)

    assert asyncio.run(scenario()).body == b"here"


def trusting(ca: CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.pem.decode())


def serving(ca: CA, folder: Path, *dns: str, ip: Sequence[str] = ()) -> ssl.SSLContext:
    issued = ca.server(*dns, ip=ip)
    file = folder / "server.pem"
    file.write_bytes(issued.pem + issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_https_is_spoken_with_whom_the_authorities_vouch_for(tmp_path: Path) -> None:
    ca = CA()

    async def scenario() -> Answer:
        lookup = names(crl_example="127.0.0.1")
        async with (
            Server(plain(b"secret"), serving(ca, tmp_path, "crl.example")) as server,
            fetching(lookup, trusting(ca)) as fetcher,
        ):
            return await fetcher.fetch(read_target(server.url(host="crl.example")), limits=LIMITS)

    assert asyncio.run(scenario()).body == b"secret"


@pytest.mark.parametrize(("name", "is_ours"), [("other.example", True), ("crl.example", False)])
def test_a_certificate_for_another_name_or_of_a_stranger_is_refused(
    tmp_path: Path, name: str, *, is_ours: bool
) -> None:
    ca = CA()

    async def scenario() -> tuple[FetchError, list[Request]]:
        lookup = names(crl_example="127.0.0.1")
        tls = serving(ca, tmp_path, name)
        async with (
            Server(plain(b"secret"), tls) as server,
            fetching(lookup, trusting(ca if is_ours else CA("Stranger"))) as fetcher,
        ):
            return await refused(fetcher, server.url(host="crl.example")), server.requests

    found, requests = asyncio.run(scenario())
    assert found.kind is FetchProblem.TLS
    assert requests == []


def test_a_connection_is_used_again() -> None:
    async def scenario() -> int:
        async with Server(plain(b"body")) as server, fetching() as fetcher:
            for _ in range(5):
                await fetcher.fetch(read_target(server.url()), limits=LIMITS)
            return server.connections

    assert asyncio.run(scenario()) == 1


@pytest.mark.parametrize("body", [None, b"question"])
def test_a_connection_that_was_closed_between_two_uses_is_no_outage(body: bytes | None) -> None:
    async def closing(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.connection == 1 and len(server.requests) > 1:
            writer.close()
        else:
            await plain(b"body")(request, writer)

    server = Server(closing)

    async def scenario() -> None:
        async with server, fetching() as fetcher:
            for _ in range(2):
                answer = await fetcher.fetch(read_target(server.url()), limits=LIMITS, body=body)
                assert answer.body == b"body"

    asyncio.run(scenario())
    assert server.connections == 2


def test_the_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with Server(plain(b"direct")) as server, Server(plain(b"proxy")) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url())
            async with fetching() as fetcher:
                assert (await fetcher.fetch(read_target(server.url()), limits=LIMITS)).body == b"direct"
            assert proxy.connections == 0

    asyncio.run(scenario())


def test_no_cookie_is_kept() -> None:
    async def scenario() -> list[Request]:
        async with Server(plain(b"x", Set_Cookie="a=b; Path=/")) as server, fetching() as fetcher:
            for _ in range(2):
                await fetcher.fetch(read_target(server.url(host="localhost")), limits=LIMITS)
            return server.requests

    assert all("cookie" not in request.headers for request in asyncio.run(scenario()))


def test_a_path_is_asked_for_as_it_was_written() -> None:
    path = "/a%2Fb/%7e/MEkw%2BgTzA%3D%3D?x=%41+b"

    async def scenario() -> list[Request]:
        async with Server() as server, fetching() as fetcher:
            await fetcher.fetch(read_target(server.url(path)), limits=LIMITS)
            return server.requests

    assert asyncio.run(scenario())[0].path == path


def test_the_host_that_was_checked_is_the_one_that_is_asked() -> None:
    async def scenario() -> list[Request]:
        async with Server() as server, fetching(names(crl_example="127.0.0.1")) as fetcher:
            url = f"HTTP://CRL.Example.:{server.port}"
            await fetcher.fetch(read_target(url), limits=LIMITS)
            assert server.requests[0].headers["host"] == f"crl.example:{server.port}"
            return server.requests

    assert asyncio.run(scenario())[0].path == "/"


def test_an_address_of_ipv6_is_asked() -> None:
    async def scenario() -> bytes:
        async with Server(plain(b"six"), hosts=("::1",)) as server, fetching() as fetcher:
            return (await fetcher.fetch(read_target(server.url(host="[::1]")), limits=LIMITS)).body

    assert asyncio.run(scenario()) == b"six"


# What certificates may lead to.


def test_a_fetcher_that_was_not_started_is_a_mistake() -> None:
    async def scenario() -> None:
        fetcher = Fetcher()
        await fetcher.close()
        with pytest.raises(AssertionError):
            await fetcher.fetch(read_target("http://a.example/"), limits=LIMITS)

    asyncio.run(scenario())


def test_the_event_loop_is_not_held_up_by_a_large_body() -> None:
    turns: list[float] = []

    async def tick() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - before)

    async def drop(_: bytes) -> None:
        pass

    async def scenario(url: str) -> None:
        async with fetching() as fetcher:
            ticking = asyncio.create_task(tick())
            await fetcher.fetch(read_target(url), limits=Limits(total=60, max_size=64 << 20), sink=drop)
            ticking.cancel()

    with Background(plain(bytes(16 << 20))) as background:
        asyncio.run(scenario(background.server.url()))
    assert sorted(turns)[len(turns) * 99 // 100] < 0.005  # seconds of CPU; wall time would tell about the machine
