"""SPOE files, as the shipped ones are and as others may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.haproxy_config.arguments import SAMPLES
from spoa.haproxy_config.spoe import Engine, read_engine
from tests.haproxy import CONFIGURATION

if TYPE_CHECKING:
    from spoa.haproxy_config.reading import Unreadable


def read(text: str, name: str = "authz") -> Engine | None:
    problems: list[Unreadable] = []
    found = read_engine("x.conf", text, name, {}, problems)
    assert problems == []
    return found


def test_the_shipped_engine_sends_what_the_agent_knows() -> None:
    engine = read((CONFIGURATION / "spoe-authz.conf").read_text())
    assert engine is not None
    assert (engine.agent, engine.prefix) == ("authz-agent", "authz")
    (message,) = engine.sent
    assert message.arguments == SAMPLES
    assert (message.event, message.condition) == (
        "on-frontend-http-request",
        ("unless", "{", "path_len", "gt", "8192", "}"),
    )


def test_an_engine_is_found_by_its_name_and_only_by_it() -> None:
    text = "[a]\nspoe-agent one\n messages m\n[b]\nspoe-agent two\nspoe-message m\n args path src=src\n"
    first, second = read(text, "a"), read(text, "b")
    assert first is not None
    assert second is not None
    assert (first.agent, first.sent, first.prefix) == ("one", [], "one")
    assert second.messages["m"].arguments == {"#0": "path", "src": "src"}
    assert second.messages["m"].event == ""
    assert read(text, "c") is None


def test_a_file_without_scopes_has_one_engine_without_a_name() -> None:
    engine = read("spoe-agent one\n messages m\n messages n\nspoe-message m\nspoe-group g\n messages m\n", "")
    assert engine is not None
    assert engine.words("messages") == ("m", "n")
    assert [str(line) for line in engine.settings] == ["messages m", "messages n"]
    assert engine.setting("timeout") is None
    assert engine.groups == {"g": ("m",)}


def test_a_group_sends_its_messages_where_the_agent_names_it() -> None:
    text = "spoe-agent one\n groups g\nspoe-message m\n args src\nspoe-message n\nspoe-group g\n messages m\n log x\n"
    engine = read(text, "")
    assert engine is not None
    assert engine.sent == [engine.messages["m"]]
