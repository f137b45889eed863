"""Questions find their answers, and the end of the line is noticed on both sides."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from spoa.control import Channel, Link, WorkerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: What workers asked of their own accord.
ASKED: list[list[dict[str, str]]] = []


def talk(conversation: Callable[[Link, Channel], Awaitable[None]]) -> None:
    """Run a conversation between a supervisor's link and the channel at its other end."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        link, channel = Link(await Channel.open(ours), ASKED.append), await Channel.open(theirs)
        await asyncio.wait_for(conversation(link, channel), 5)
        await link.close()
        await channel.close()

    asyncio.run(run())


async def question(channel: Channel) -> dict[str, Any]:
    message = await channel.receive()
    assert message is not None
    return message


def test_answers_may_come_in_any_order() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        asked = [asyncio.create_task(link.ask("report", 5, number=n)) for n in range(3)]
        for message in reversed([await question(channel) for _ in asked]):
            channel.send({"id": message["id"], "said": message["number"], "do": message["do"]})
        assert [(await answer)["said"] for answer in asked] == [0, 1, 2]

    talk(conversation)


def test_what_is_long_comes_in_parts_and_is_put_together_for_whoever_asked() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        asked = [asyncio.create_task(link.ask("report", 5)) for _ in range(2)]
        one, two = [(await question(channel))["id"] for _ in asked]
        for number, rows in ((one, [1]), (two, [2]), (one, [3]), (77, [4])):
            channel.send({"id": number, "part": {"rows": rows}})
        for number in (two, one):
            channel.send({"id": number, "said": number})
        assert [await answer for answer in asked] == [
            {"id": one, "said": one, "rows": [1, 3]},
            {"id": two, "said": two, "rows": [2]},
        ]

    talk(conversation)


def test_parts_of_what_came_too_late_are_not_kept_for_anybody() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        asked = asyncio.create_task(link.ask("report", 0.2))
        late = (await question(channel))["id"]
        channel.send({"id": late, "part": {"rows": [1]}})
        with pytest.raises(WorkerError, match="no answer"):
            await asked
        channel.send({"id": late, "part": {"rows": [2]}})
        asked = asyncio.create_task(link.ask("report", 5))
        soon = (await question(channel))["id"]
        channel.send({"id": soon, "part": {"rows": [3]}})
        channel.send({"id": soon})
        assert (await asked)["rows"] == [3]
        assert not link._parts

    talk(conversation)


def test_an_error_is_raised_where_it_was_asked_for() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        asked = asyncio.create_task(link.ask("prepare", 5))
        channel.send({"id": (await question(channel))["id"], "error": "no bundle"})
        with pytest.raises(WorkerError, match="prepare: no bundle") as caught:
            await asked
        assert not caught.value.is_gone

    talk(conversation)


def test_a_late_answer_is_an_error_and_then_ignored() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        with pytest.raises(WorkerError, match=r"no answer within 0\.01 s"):
            await link.ask("report", 0.01)
        channel.send({"id": (await question(channel))["id"]})
        channel.send({"id": 77})
        asked = asyncio.create_task(link.ask("report", 5))
        channel.send({"id": (await question(channel))["id"]})
        await asked

    talk(conversation)


def test_everybody_who_waits_hears_that_the_worker_is_gone() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        asked = [asyncio.create_task(link.ask("report", 5)) for _ in range(2)]
        await question(channel)
        await channel.close()
        for answer in asked:
            with pytest.raises(WorkerError, match="gone") as caught:
                await answer
            assert caught.value.is_gone
        with pytest.raises(WorkerError, match="gone"):
            await link.ask("report", 5)

    talk(conversation)


def test_a_worker_hears_that_the_supervisor_is_gone() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        await link.close()
        assert await channel.receive() is None
        await channel.close()
        channel.send({"id": 1})

    talk(conversation)


@pytest.mark.parametrize("line", [b"gibberish\n", b"[1]\n", b"{\n", b'{"id": 1}'])
def test_what_is_no_message_ends_the_conversation(line: bytes) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        channel = await Channel.open(ours)
        with theirs:
            theirs.sendall(line)
        assert await channel.receive() is None
        await channel.close()

    asyncio.run(run())


def test_an_answer_to_one_who_no_longer_waits_disturbs_nobody() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        asked = asyncio.create_task(link.ask("report", 5))
        message = await question(channel)
        asked.cancel()
        channel.send({"id": message["id"]})
        with pytest.raises(asyncio.CancelledError):
            await asked

    talk(conversation)


def test_what_a_worker_asks_unasked_is_passed_on_and_answers_nothing() -> None:
    async def conversation(link: Link, channel: Channel) -> None:
        asked = asyncio.create_task(link.ask("report", 5))
        number = (await question(channel))["id"]
        channel.send({"asks": [{"issuer": "corp"}]})
        channel.send({"id": number, "said": "yes"})
        assert (await asked)["said"] == "yes"
        assert ASKED == [[{"issuer": "corp"}]]

    ASKED.clear()
    talk(conversation)
