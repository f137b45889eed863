from __future__ import annotations

from dataclasses import fields

import pytest

from spoa.exceptions import ProtocolError
from spoa.spop.events import (
    AckReceived,
    ConnectionBroken,
    DisconnectReceived,
    HealthCheckReceived,
    HelloReceived,
)
from spoa.spop.frames import Ack
from spoa.spop.handshake import AgentHello, HaproxyDisconnect


@pytest.mark.parametrize(
    "kind", [AckReceived, ConnectionBroken, DisconnectReceived, HealthCheckReceived, HelloReceived]
)
def test_every_event_but_a_notify_has_a_reply(kind: type) -> None:
    assert [field.name for field in fields(kind)][-1] == "reply"


def test_there_is_nothing_to_say_unless_something_is_said() -> None:
    assert AckReceived(Ack(1, 1)).reply == b""
    assert HelloReceived(AgentHello(256)).reply == b""
    assert HealthCheckReceived(AgentHello(256)).reply == b""
    assert DisconnectReceived(HaproxyDisconnect(0)).reply == b""
    assert ConnectionBroken(ProtocolError(4, "x"), b"bye").reply == b"bye"
