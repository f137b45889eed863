"""One SPOP connection, for either side, without a socket.

Bytes go in with `receive_data`, events come out, and everything to be written comes out as `bytes`: as the `reply` of
an event, or from a method that is asked for it. Nothing is ever written here. The owner writes replies and ACKs in the
order of the events they belong to, several of them in one write if there are several, but never one of them in two
writes: HAProxy 3.2 resets a connection whose AGENT-HELLO comes in two segments.

Which frame may come when is said by the tables of `states`, and their theory by its first lines. Here stands what makes
a well-placed frame a bad one: its size, its flags, its payload.
"""

# ruff: noqa: SLF001 -- the table of handlers stands behind the class that they belong to

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from spoa.exceptions import ProtocolError
from spoa.spop.events import (
    AckReceived,
    ConnectionBroken,
    DisconnectReceived,
    Event,
    HealthCheckReceived,
    HelloReceived,
)
from spoa.spop.fragments import Reassembly
from spoa.spop.frames import (
    ABRT,
    FIN,
    HEADER,
    PREFIX_SIZE,
    SMALLEST_LENGTH,
    Ack,
    FrameType,
    Header,
    frame_bytes,
    read_header,
    read_ids,
    read_length,
    require_whole,
    write_frame,
    write_ids,
)
from spoa.spop.handshake import (
    SMALLEST_FRAME_SIZE,
    AgentDisconnect,
    AgentHello,
    HaproxyDisconnect,
    HaproxyHello,
    read_agent_hello,
    read_disconnect,
    read_haproxy_hello,
)
from spoa.spop.payloads import read_actions
from spoa.spop.states import DEAF, RECEIVED, TRANSITIONS, Happening, Role, State
from spoa.spop.status import Status
from spoa.spop.varint import CONTINUED, FOLLOWED, LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ANNOUNCED_SIZE", "HELLO_SIZE", "REASSEMBLED_SIZE", "Connection", "payload_start"]

AGENT_CAPABILITIES: Final = ("pipelining", "fragmentation")
HELLO_SIZE: Final = 2**14  # bytes of a HELLO, the only frame while nothing is negotiated: HAProxy's default buffer
ANNOUNCED_SIZE: Final = 2**20  # bytes of a frame that are accepted where HAProxy announced as much and we did not
REASSEMBLED_SIZE: Final = 2**16  # bytes of a payload that came in fragments

_ASSIGNED: Final = frozenset(Status)
_NOTIFY: Final = int(FrameType.NOTIFY)
_FIN: Final = int(FIN)
_PREFIX: Final = int(PREFIX_SIZE)
#: The beginnings of ACKs by their length, which is almost always among these. Benchmark: benchmarks/hotpath.py.
_USUAL_ACK: Final = 1024
_ACK_HEADS: Final = tuple(HEADER.pack(length, FrameType.ACK, FIN) for length in range(_USUAL_ACK))
_SMALLEST_FRAME: Final = PREFIX_SIZE + SMALLEST_LENGTH
#: Where the ids of a frame begin, behind its length, type and flags.
_IDS: Final = PREFIX_SIZE + 5


# Hot path: what almost every frame is, a whole NOTIFY of less than 64 KiB with everything in its place. At any other
# `Connection` looks from the start. Bytes are taken one by one, since compiled that is a fifth of unpacking them
# together. See benchmarks/spop.py.
def payload_start(data: bytes, position: int, stop: int) -> int:
    """Return where the payload of a frame from `position` to `stop` begins, or -1 where it is no usual NOTIFY."""
    if data[position + 4] != _NOTIFY or data[position + 8] & 3 != _FIN:
        return -1
    start = position + _IDS
    longest = start + LONGEST
    try:
        if data[start] >= FOLLOWED:
            start += 1
            while data[start] >= CONTINUED and start < longest:
                start += 1
        start += 1
        if data[start] >= FOLLOWED:
            start += 1
            while data[start] >= CONTINUED and start < longest:
                start += 1
        start += 1
    except IndexError:
        return -1  # the ids are cut off, which `Connection` judges
    # Ids of ten bytes together can't be above 2**64, and longer ones are too rare to be looked at here.
    return -1 if start > longest or start > stop else start


def _read_notifies(data: bytes, position: int, limit: int, events: list[Event]) -> int:
    """Append the whole NOTIFYs from `position` on to the events, and return the position of what is none."""
    end = len(data)
    while end - position >= _SMALLEST_FRAME:
        length = data[position + 2] << 8 | data[position + 3]
        stop = position + _PREFIX + length
        if stop > end or length > limit or data[position] or data[position + 1]:
            break
        start = payload_start(data, position, stop)
        if start < 0:
            break
        events.append((data[position + _IDS : start], data[start:stop]))
        position = stop
    return position


_Handler: TypeAlias = "Callable[[Connection, Header, bytes, list[Event]], Happening]"


class Connection:
    """One connection, from its first byte to its last.

    Attributes:
        role: the side that this object is.
        state: how far the connection has come; the owner may still have to handle events from before.
        frame_size: what was negotiated, in bytes without the length prefix; 256 before.
        peer: what the other side said in its HELLO; `None` before.
        is_deaf: whatever arrives is dropped unread.
    """

    __slots__ = (
        "_expects_notifies",
        "_held",
        "_is_healthcheck",
        "_limit",
        "_max_frame_size",
        "_needed",
        "_reassembly",
        "frame_size",
        "is_deaf",
        "peer",
        "role",
        "state",
    )

    def __init__(
        self, role: Role, *, max_frame_size: int = ANNOUNCED_SIZE, max_fragmented: int = REASSEMBLED_SIZE
    ) -> None:
        """Begin a connection.

        Args:
            role: the side to be.
            max_frame_size: the largest frame to announce, in bytes without the length prefix, 256 to 2**32 - 1.
            max_fragmented: the largest payload to put together from fragments, in bytes.

        Raises:
            ValueError: when `max_frame_size` is out of bounds.
        """
        if not SMALLEST_FRAME_SIZE <= max_frame_size < 2**32:
            raise ValueError(f"a frame size of {max_frame_size} is not between {SMALLEST_FRAME_SIZE} and 2**32 - 1")
        self.role = role
        self.state = State.NEW
        self.is_deaf = False
        self._expects_notifies = False
        self.frame_size = SMALLEST_FRAME_SIZE
        self.peer: HaproxyHello | AgentHello | None = None
        self._max_frame_size = max_frame_size
        self._limit = HELLO_SIZE
        self._is_healthcheck = False
        self._held = bytearray()  # the beginning of a frame whose end has not come
        self._needed = 0  # bytes that `_held` must have before there is anything to do
        self._reassembly = Reassembly(max_fragmented)

    @property
    def held_size(self) -> int:
        """Bytes kept until more of them come."""
        return len(self._held) + len(self._reassembly)

    def receive_data(self, data: bytes) -> list[Event]:
        """Take what came from the peer, and return what happened.

        Any cut of the stream into pieces gives the same events. Never raises for what the peer sent: a breach of the
        protocol is the last event, `ConnectionBroken`.

        Args:
            data: the bytes of one read.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
            self._held = bytearray()
        events: list[Event] = []
        position = 0
        if self._expects_notifies:
            position = _read_notifies(data, 0, self._limit, events)
            if position == len(data):
                return events
        try:
            position = self._read_frames(data, position, events)
        except ProtocolError as error:
            events.append(self._break(error))
        if position < len(data) and not self.is_deaf:
            self._held += data[position:]
        return events

    # Trick: most reads are NOTIFYs and no more, which then need not be cut out and kept. Benchmark:
    # benchmarks/hotpath.py.
    def notify_end(self, data: bytes, position: int) -> int:
        """Return where the frame ends that is at `position` of a read, or -1 where no NOTIFY is expected, or not whole.

        `payload_start` tells whether it is one. What else it is, is for `receive_data` to say; nothing is kept here.
        """
        end = len(data)
        if not self._expects_notifies or self._held or end - position < _SMALLEST_FRAME:
            return -1
        length = data[position + 2] << 8 | data[position + 3]
        stop = position + _PREFIX + length
        if stop > end or length > self._limit or data[position] or data[position + 1]:
            return -1
        return stop

    @staticmethod
    def ids_of(data: bytes, position: int, start: int) -> bytes:
        """Return the first half of the event that a NOTIFY is, which is at `position`, its payload from `start` on."""
        return data[position + _IDS : start]

    def receive_eof(self) -> None:
        """Take note that the peer will send no more; part of a frame is forgotten, no part of it was ever judged."""
        self._advance(Happening.EOF)

    # Hot path: compiled, pieces are put together at one go like this, and not when they are added or joined. Benchmark:
    # benchmarks/hotpath.py.
    def ack(self, ids: bytes, actions: bytes) -> bytes:
        """Write the ACK to a NOTIFY.

        The state is not asked: it may be ahead of the event that is answered.

        Args:
            ids: the first half of the event, echoed as it is.
            actions: as from `write_actions`; at least one, since HAProxy 3.1.0 hangs on an ACK without any.

        Raises:
            ProtocolError: status 3, when the frame would be larger than negotiated; answer with less.
        """
        length = 5 + len(ids) + len(actions)
        if length > self.frame_size:
            raise ProtocolError(
                Status.FRAME_TOO_BIG, f"an ACK of {length} bytes where {self.frame_size} are negotiated"
            )
        head = _ACK_HEADS[length] if length < _USUAL_ACK else HEADER.pack(length, FrameType.ACK, FIN)
        return b"%b%b%b" % (head, ids, actions)

    def send_disconnect(self, status: int = Status.NORMAL) -> bytes:
        """Write our DISCONNECT, the last frame of this side.

        Raises:
            ProtocolError: status 4, when the state has no room for it, which can only be on HAProxy's side.
        """
        self._advance(Happening.SEND_DISCONNECT)
        return self._disconnect(status)

    def send_hello(
        self, *, capabilities: tuple[str, ...] = ("pipelining",), engine_id: bytes = b"", is_healthcheck: bool = False
    ) -> bytes:
        """Write a HAPROXY-HELLO.

        Raises:
            ProtocolError: status 4, on the agent's side or when it was sent already.
        """
        self._advance(Happening.SEND_HELLO)
        self._is_healthcheck = is_healthcheck
        return write_frame(
            HaproxyHello(
                self._max_frame_size,
                capabilities=capabilities,
                engine_id=engine_id,
                is_healthcheck=is_healthcheck,
            )
        )

    def send_notify(self, stream_id: int, frame_id: int, payload: bytes) -> bytes:
        """Write a NOTIFY, in fragments where it must be and the agent takes them, as HAProxy up to 3.0 does.

        Raises:
            ProtocolError: status 3, when it is too large and the agent takes no fragments; status 4, when the
                connection is not open or this is the agent's side.
        """
        self._advance(Happening.SEND_NOTIFY)
        ids = write_ids(stream_id, frame_id)
        room = self.frame_size - 5 - len(ids)
        if len(payload) <= room:
            return frame_bytes(FrameType.NOTIFY, FIN, ids, payload)
        if self.peer is None or "fragmentation" not in self.peer.capabilities:
            raise ProtocolError(Status.FRAME_TOO_BIG, f"a payload of {len(payload)} bytes where {room} are negotiated")
        pieces = [payload[start : start + room] for start in range(0, len(payload), room)]
        types = [FrameType.NOTIFY] + [FrameType.UNSET] * (len(pieces) - 1)
        flags = [0] * (len(pieces) - 1) + [FIN]
        return b"".join(map(frame_bytes, types, flags, [ids] * len(pieces), pieces))

    def _next(self, happening: Happening) -> State:
        try:
            return TRANSITIONS[self.role][self.state][happening]
        except KeyError:
            detail = f"{happening.value} while {self.state.value}, as {self.role.value}"
            raise ProtocolError(Status.INVALID_FRAME, detail) from None

    def _advance(self, happening: Happening) -> None:
        self.state = self._next(happening)
        self.is_deaf = self.state in DEAF[self.role]
        self._expects_notifies = self.state is State.OPEN and self.role is Role.AGENT and not self._reassembly.ids
        if self.is_deaf:
            self._held = bytearray()
            self._reassembly.forget()

    def _break(self, error: ProtocolError) -> ConnectionBroken:
        self._advance(Happening.BREACH)
        return ConnectionBroken(error, self._disconnect(error.status))

    def _disconnect(self, status: int) -> bytes:
        message = Status(status).text if status in _ASSIGNED else "status not assigned"
        kind = AgentDisconnect if self.role is Role.AGENT else HaproxyDisconnect
        return write_frame(kind(status, message.encode()))

    def _read_frames(self, data: bytes, position: int, events: list[Event]) -> int:
        """Read what `_read_notifies` does not, and return the position of the first frame that is not complete."""
        end = len(data)
        start = -1
        while start < position < end and not self.is_deaf:
            start = position
            position = self._read_frame(data, position, events)
            if self._expects_notifies:
                position = _read_notifies(data, position, self._limit, events)
        return position

    def _read_frame(self, data: bytes, position: int, events: list[Event]) -> int:
        """Read the frame at `position`; return that very position where it is not complete."""
        available = len(data) - position
        self._needed = PREFIX_SIZE
        if available < PREFIX_SIZE:
            return position
        length = read_length(data, position)
        if length > self._limit:
            raise ProtocolError(Status.FRAME_TOO_BIG, f"a frame of {length} bytes where {self._limit} are accepted")
        self._needed += length
        if available < self._needed:
            return position
        end = position + self._needed
        frame = data[position:end]
        header = read_header(frame)
        happening = RECEIVED[self.role].get(header.type, Happening.UNKNOWN)
        self._next(happening)
        handler = _HANDLERS[self.role].get(happening)
        if handler is not None:
            happening = handler(self, header, frame[header.size :], events)
        self._advance(happening)
        return end

    def _receive_haproxy_hello(self, header: Header, payload: bytes, events: list[Event]) -> Happening:
        require_whole(header)
        hello = read_haproxy_hello(payload)
        self.peer = hello
        self.frame_size = min(self._max_frame_size, hello.max_frame_size)
        # HAProxy 3.1.0 sends frames of the size that it announced, whatever it was answered.
        self._limit = max(self.frame_size, min(hello.max_frame_size, ANNOUNCED_SIZE))
        reply = write_frame(AgentHello(self.frame_size, AGENT_CAPABILITIES))
        if hello.is_healthcheck:
            events.append(HealthCheckReceived(hello, reply))
            return Happening.HEALTH_CHECK
        events.append(HelloReceived(hello, reply))
        return Happening.HELLO

    def _receive_agent_hello(self, header: Header, payload: bytes, events: list[Event]) -> Happening:
        require_whole(header)
        hello = read_agent_hello(payload)
        if hello.max_frame_size > self._max_frame_size:
            raise ProtocolError(
                Status.BAD_FRAME_SIZE, f"a max-frame-size of {hello.max_frame_size}, more than announced"
            )
        self.peer = hello
        self.frame_size = self._limit = hello.max_frame_size
        if self._is_healthcheck:
            events.append(HealthCheckReceived(hello))
            return Happening.HEALTH_CHECK
        events.append(HelloReceived(hello))
        return Happening.HELLO

    def _receive_notify(self, header: Header, payload: bytes, events: list[Event]) -> Happening:
        if self._reassembly.ids:
            raise ProtocolError(Status.INTERLACED_FRAMES, "a NOTIFY inside a fragmented one")
        if header.flags & (FIN | ABRT) == FIN:
            events.append((header.ids, payload))
        elif not header.flags & ABRT:  # nobody waits for an answer to what its sender gave up
            self._reassembly.begin(header, payload)
        return Happening.NOTIFY

    def _receive_fragment(self, header: Header, payload: bytes, events: list[Event]) -> Happening:
        whole = self._reassembly.go_on(header, payload)
        if whole is not None:
            events.append((header.ids, whole))
        return Happening.FRAGMENT

    def _receive_ack(self, header: Header, payload: bytes, events: list[Event]) -> Happening:
        require_whole(header)
        events.append(AckReceived(Ack(*read_ids(header.ids), read_actions(payload))))
        return Happening.ACK

    def _receive_haproxy_disconnect(self, header: Header, payload: bytes, events: list[Event]) -> Happening:
        require_whole(header)
        disconnect = HaproxyDisconnect(*read_disconnect(payload))
        events.append(DisconnectReceived(disconnect, self._disconnect(Status.NORMAL)))
        return Happening.DISCONNECT

    def _receive_agent_disconnect(self, header: Header, payload: bytes, events: list[Event]) -> Happening:
        require_whole(header)
        events.append(DisconnectReceived(AgentDisconnect(*read_disconnect(payload))))
        return Happening.DISCONNECT


# Behind the class and not in it: a compiled class body does not know its own methods yet.
_HANDLERS: Final[Mapping[Role, Mapping[Happening, _Handler]]] = {
    Role.AGENT: {
        Happening.HELLO: Connection._receive_haproxy_hello,
        Happening.NOTIFY: Connection._receive_notify,
        Happening.FRAGMENT: Connection._receive_fragment,
        Happening.DISCONNECT: Connection._receive_haproxy_disconnect,
    },
    Role.HAPROXY: {
        Happening.HELLO: Connection._receive_agent_hello,
        Happening.ACK: Connection._receive_ack,
        Happening.DISCONNECT: Connection._receive_agent_disconnect,
    },
}
