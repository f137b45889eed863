"""SPOP 2.0: the wire format and the connection, for both sides, free of I/O (HAProxy's `doc/SPOE.txt`).

An agent makes a `Connection(Role.AGENT)` of each accepted socket, gives it every read, and walks the events::

    for event in connection.receive_data(data):
        if type(event) is tuple:
            ids, payload = event
            answer.append(connection.ack(ids, write_set_var(Scope.TRANSACTION, b"verdict", DataType.STRING, b"deny")))
        else:
            answer.append(event.reply)
    transport.write(b"".join(answer))
"""

from __future__ import annotations

from spoa.spop.connection import Connection, payload_start
from spoa.spop.events import (
    AckReceived,
    ConnectionBroken,
    DisconnectReceived,
    Event,
    HealthCheckReceived,
    HelloReceived,
    NotifyReceived,
)
from spoa.spop.frames import ABRT, FIN, Ack, Frame, FrameType, Notify, frame_bytes, read_frame, read_ids, write_frame
from spoa.spop.handshake import AgentDisconnect, AgentHello, Disconnect, HaproxyDisconnect, HaproxyHello
from spoa.spop.payloads import (
    Action,
    Argument,
    Message,
    Scope,
    SetVar,
    UnsetVar,
    Wanted,
    read_actions,
    read_arguments,
    read_messages,
    write_actions,
    write_messages,
    write_set_var,
    write_unset_var,
)
from spoa.spop.states import TRANSITIONS, Happening, Role, State
from spoa.spop.status import Status
from spoa.spop.typeddata import TYPES, DataType, Value, read_typed, skip_typed, write_typed
from spoa.spop.varint import CONTINUED, FOLLOWED, read_varint, write_varint

__all__ = [
    "ABRT",
    "CONTINUED",
    "FIN",
    "FOLLOWED",
    "TRANSITIONS",
    "TYPES",
    "Ack",
    "AckReceived",
    "Action",
    "AgentDisconnect",
    "AgentHello",
    "Argument",
    "Connection",
    "ConnectionBroken",
    "DataType",
    "Disconnect",
    "DisconnectReceived",
    "Event",
    "Frame",
    "FrameType",
    "Happening",
    "HaproxyDisconnect",
    "HaproxyHello",
    "HealthCheckReceived",
    "HelloReceived",
    "Message",
    "Notify",
    "NotifyReceived",
    "Role",
    "Scope",
    "SetVar",
    "State",
    "Status",
    "UnsetVar",
    "Value",
    "Wanted",
    "frame_bytes",
    "payload_start",
    "read_actions",
    "read_arguments",
    "read_frame",
    "read_ids",
    "read_messages",
    "read_typed",
    "read_varint",
    "skip_typed",
    "write_actions",
    "write_frame",
    "write_messages",
    "write_set_var",
    "write_typed",
    "write_unset_var",
    "write_varint",
]
