from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.exceptions import ProtocolError
from spoa.spop.payloads import (
    Action,
    Argument,
    Message,
    Scope,
    SetVar,
    UnsetVar,
    read_actions,
    read_arguments,
    read_items,
    read_messages,
    write_actions,
    write_items,
    write_messages,
    write_set_var,
    write_unset_var,
)
from spoa.spop.typeddata import DataType, Value
from tests import wire

Found: TypeAlias = list[tuple[bytes, int, Value]]

TYPED = st.one_of(
    st.tuples(st.just(DataType.NULL), st.none()),
    st.tuples(st.just(DataType.BOOL), st.booleans()),
    st.tuples(st.just(DataType.INT64), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(DataType.UINT32), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(DataType.IPV4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(DataType.IPV6), st.binary(min_size=16, max_size=16)),
    st.tuples(st.sampled_from([DataType.STRING, DataType.BINARY]), st.binary(max_size=260)),
)
NAMES = st.one_of(st.sampled_from([b"", b"cert", b"path", b"authorize"]), st.binary(max_size=250))
ARGUMENTS = st.builds(lambda name, typed: Argument(name, *typed), NAMES, TYPED)
MESSAGES = st.lists(st.builds(Message, NAMES, st.lists(ARGUMENTS, max_size=6).map(tuple)), max_size=4)
ACTIONS: st.SearchStrategy[list[Action]] = st.lists(
    st.one_of(
        st.builds(lambda scope, name, typed: SetVar(scope, name, *typed), st.sampled_from(Scope), NAMES, TYPED),
        st.builds(UnsetVar, st.sampled_from(Scope), NAMES),
    ),
    max_size=5,
)

MESSAGE_CASES: list[tuple[list[Message], bytes]] = [
    ([], b""),
    ([Message(b"check", ())], b"\x05check\0"),
    ([Message(b"", (Argument(b"", DataType.NULL, None),))], b"\0\x01\0\0"),
    (
        [
            Message(
                b"check",
                (
                    Argument(b"method", DataType.STRING, b"GET"),
                    Argument(b"path", DataType.STRING, b"/"),
                    Argument(b"src", DataType.IPV4, b"\x7f\0\0\x01"),
                ),
            )
        ],
        wire.recorded("notify")[0][11:],
    ),
    (
        [Message(b"a", (Argument(b"x", 1, value=True), Argument(b"x", 1, value=False))), Message(b"b", ())],
        b"\x01a\x02\x01x\x11\x01x\x01\x01b\0",
    ),
    (
        [Message(b"all", (Argument(b"", DataType.INT64, -1),) * 255)],
        b"\x03all\xff" + b"\0\x04\xff\xf0\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0e" * 255,
    ),
    (
        [Message(b"n" * 240, (Argument(b"k" * 240, DataType.BINARY, b"v" * 240),))],
        b"\xf0\0" + b"n" * 240 + b"\x01\xf0\0" + b"k" * 240 + b"\x09\xf0\0" + b"v" * 240,
    ),
]

ACTION_CASES: list[tuple[tuple[Action, ...], str]] = [
    ((), ""),
    ((SetVar(Scope.TRANSACTION, b"verdict", DataType.STRING, b"allow"),), "01030207766572646963740805616c6c6f77"),
    ((UnsetVar(Scope.TRANSACTION, b"verdict"),), "0202020776657264696374"),
    (
        (UnsetVar(Scope.PROCESS, b"a"), SetVar(Scope.RESPONSE, b"b", DataType.BOOL, value=True)),
        "0202000161" + "010304016211",
    ),
]

BROKEN_MESSAGES = {
    "a name past the end": b"\x05chec",
    "a name's length alone": b"\x05",
    "a length that ends inside": b"\xff",
    "a name without a number": b"\x05check",
    "fewer arguments than said": wire.message(b"m", wire.item(b"a", b"\0"), count=2),
    "a name of an argument past the end": b"\x01m\x01\x09a",
    "a length of an argument that ends inside": b"\x01m\x01\xf5",
    "an argument without a value": b"\x01m\x01\x01a",
    "a string past the end": b"\x01m\x01\x01a\x08\x03ab",
    "a string of 2**64 - 1 bytes": b"\x01m\x01\x01a\x08\xff\xf0\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0eab",
    "a name of 2**64 - 1 bytes": b"\x01m\x01\xff\xf0\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0eab",
    "a string without a length": b"\x01m\x01\x01a\x09",
    "a string whose length ends inside": b"\x01m\x01\x01a\x09\xff",
    "an address past the end": b"\x01m\x01\x01a\x06\x7f\0\0",
    "an integer that ends inside": b"\x01m\x01\x01a\x04\xff",
    "a boolean with odd flags": b"\x01m\x01\x01a\x21",
    "rubbish behind": wire.message(b"m", wire.item(b"a", b"\0")) + b"\x7f",
    **{f"type {number}": b"\x01m\x01\x01a" + bytes([number]) for number in range(10, 16)},
}


@pytest.mark.parametrize(("messages", "written"), MESSAGE_CASES)
def test_each_list_of_messages_holds_both_ways(messages: list[Message], written: bytes) -> None:
    assert write_messages(messages) == written
    assert read_messages(written) == messages
    for message in messages:
        name, arguments = message
        wanted = {argument.name: argument.name for argument in arguments}
        expected: Found = [(a.name, a.type, a.value) for a in arguments]
        assert read_arguments(written, name, wanted) == (1, expected)


@pytest.mark.parametrize("payload", BROKEN_MESSAGES.values(), ids=BROKEN_MESSAGES.keys())
@pytest.mark.parametrize("wanted", [{}, {b"a": 0}], ids=["unwanted", "wanted"])
@pytest.mark.parametrize("message", [b"m", b"other"])
def test_a_broken_list_of_messages_is_refused_however_it_is_read(
    payload: bytes, wanted: dict[bytes, int], message: bytes
) -> None:
    before = wire.message(b"m", wire.item(b"a", b"\x11"))

    for broken in (payload, before + payload):
        with pytest.raises(ProtocolError) as caught:
            read_messages(broken)
        assert caught.value.status == 4
        with pytest.raises(ProtocolError) as caught:
            read_arguments(broken, message, wanted)
        assert caught.value.status == 4


def test_more_arguments_than_a_byte_can_count_are_not_written() -> None:
    with pytest.raises(ValueError, match="256 arguments"):
        write_messages([Message(b"m", (Argument(b"", DataType.NULL, None),) * 256)])


def test_only_the_wanted_arguments_of_the_message_asked_for_are_returned() -> None:
    payload = write_messages(
        [
            Message(b"other", (Argument(b"path", DataType.STRING, b"/other"),)),
            Message(
                b"authorize",
                (
                    Argument(b"path", DataType.STRING, b"/a"),
                    Argument(b"id", DataType.STRING, b"7"),
                    Argument(b"used", DataType.BOOL, value=True),
                    Argument(b"n", DataType.INT64, 3),
                ),
            ),
        ]
    )

    count, found = read_arguments(payload, b"authorize", {b"path": "P", b"used": "U", b"absent": "A"})

    assert count == 1
    assert found == [("P", DataType.STRING, b"/a"), ("U", DataType.BOOL, True)]


def test_what_comes_twice_is_returned_twice() -> None:
    message = Message(
        b"authorize", (Argument(b"x", DataType.BOOL, value=True), Argument(b"x", DataType.BOOL, value=False))
    )

    count, found = read_arguments(write_messages([message, message]), b"authorize", {b"x": 0})

    assert count == 2
    assert [value for _, _, value in found] == [True, False, True, False]


def test_a_payload_without_the_message_is_no_error() -> None:
    assert read_arguments(b"", b"authorize", {}) == (0, [])
    assert read_arguments(b"\x05check\0", b"authorize", {}) == (0, [])


def test_a_slot_may_be_anything_that_is_not_none() -> None:
    payload = wire.message(b"m", wire.item(b"a", b"\x08\x01v"), wire.item(b"b", b"\x04\x07"))

    assert read_arguments(payload, b"m", {b"a": 0, b"b": ""}) == (1, [(0, 8, b"v"), ("", 4, 7)])


@given(MESSAGES)
def test_every_list_of_messages_comes_back(messages: list[Message]) -> None:
    assert read_messages(write_messages(messages)) == messages


@given(MESSAGES, st.sampled_from([b"", b"authorize"]), st.sets(st.sampled_from([b"", b"cert", b"path"])))
def test_reading_what_is_wanted_agrees_with_reading_everything(
    messages: list[Message], name: bytes, wanted: set[bytes]
) -> None:
    asked = [message for message in messages if message.name == name]
    expected: Found = [(a.name, a.type, a.value) for message in asked for a in message.arguments if a.name in wanted]

    assert read_arguments(write_messages(messages), name, {key: key for key in wanted}) == (len(asked), expected)


@given(
    st.one_of(
        st.binary(max_size=60), st.builds(lambda m, junk: write_messages(m) + junk, MESSAGES, st.binary(max_size=4))
    )
)
def test_both_ways_of_reading_refuse_the_same_bytes(payload: bytes) -> None:
    refused = []
    for read in (read_messages, lambda data: read_arguments(data, b"authorize", {b"": 0, b"cert": 1})):
        try:
            read(payload)
        except ProtocolError as error:
            refused.append(error.status)
    assert refused in ([], [4, 4])


@pytest.mark.parametrize(("actions", "written"), ACTION_CASES)
def test_each_list_of_actions_holds_both_ways(actions: tuple[Action, ...], written: str) -> None:
    assert write_actions(actions).hex() == written
    assert read_actions(bytes.fromhex(written)) == actions


def test_actions_may_be_written_one_by_one() -> None:
    set_var = SetVar(Scope.SESSION, b"n", DataType.INT64, -1)
    unset_var = UnsetVar(Scope.REQUEST, b"o")

    assert write_set_var(*set_var) + write_unset_var(*unset_var) == write_actions([set_var, unset_var])


@pytest.mark.parametrize(
    "written",
    [
        "01",  # a type alone
        "0103",  # no scope
        "010302",  # no name
        "01030201",  # a name past the end
        "0103020161",  # no value
        "01030201610a",  # a value of no known type
        "0103050161" + "00",  # no known scope
        "0202050161",
        "020202",
        "010202016100",  # a wrong number of arguments
        "02030201",
        "0303020161" + "00",  # no known action
        "0202020161" + "01",  # rubbish behind
    ],
)
def test_a_broken_list_of_actions_is_refused(written: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_actions(bytes.fromhex(written))

    assert caught.value.status == 4


@given(ACTIONS)
def test_every_list_of_actions_comes_back(actions: list[Action]) -> None:
    assert read_actions(write_actions(actions)) == tuple(actions)


@given(st.binary(max_size=60))
def test_garbage_gives_actions_or_status_4(payload: bytes) -> None:
    try:
        actions = read_actions(payload)
    except ProtocolError as error:
        assert error.status == 4  # noqa: PT017  # garbage may also be refused, and then so
    else:
        assert read_actions(write_actions(actions)) == actions


def test_items_hold_both_ways() -> None:
    items: list[tuple[bytes, int, Value]] = [(b"version", 8, b"2.0"), (b"max-frame-size", 3, 16380), (b"x", 0, None)]
    written = b"\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\x01x\0"

    assert write_items(items) == written
    assert read_items(written) == {b"version": (8, b"2.0"), b"max-frame-size": (3, 16380), b"x": (0, None)}


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    assert read_items(b"\x01k\x01" + b"\x01k\x11") == {b"k": (1, True)}


@pytest.mark.parametrize("payload", [b"\0\0", b"\x01k", b"\x02k", b"\x01k\x0f", b"\x01k\x08\x02v"])
def test_broken_items_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_items(payload)

    assert caught.value.status == 4
