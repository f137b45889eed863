"""A NOTIFY that HAProxy up to 3.0 cuts into fragments is put together again here, within a bound."""

from __future__ import annotations

from spoa.exceptions import ProtocolError
from spoa.spop.frames import ABRT, FIN, Header
from spoa.spop.status import Status

__all__ = ["Reassembly"]


class Reassembly:
    """At most one fragmented NOTIFY: a NOTIFY without FIN begins it, and frames of type UNSET with its ids go on.

    HAProxy sends nothing else on a connection until the last fragment is out, so there is never more than one.

    Attributes:
        ids: those of the NOTIFY that is under way, empty while there is none.
    """

    __slots__ = ("_largest", "_payload", "ids")

    def __init__(self, largest: int) -> None:
        """Begin with nothing; `largest` bounds the payload, in bytes."""
        self.ids = b""
        self._payload = bytearray()
        self._largest = largest

    def __len__(self) -> int:
        return len(self._payload)

    def begin(self, header: Header, payload: bytes) -> None:
        """Take the first fragment.

        Raises:
            ProtocolError: status 3, when it is too large.
        """
        self._take(payload)
        self.ids = header.ids

    def go_on(self, header: Header, payload: bytes) -> bytes | None:
        """Take another fragment, and return the whole payload if it was the last one.

        Raises:
            ProtocolError: 12, when there is nothing to go on with; 11, when it belongs to another NOTIFY; 3, when the
                payload gets too large.
        """
        if not self.ids:
            raise ProtocolError(Status.FRAME_ID_NOT_FOUND, "a fragment that continues nothing")
        if header.ids != self.ids:
            raise ProtocolError(Status.INTERLACED_FRAMES, "a fragment inside another fragmented NOTIFY")
        if header.flags & ABRT:
            self.forget()
            return None
        self._take(payload)
        if not header.flags & FIN:
            return None
        whole = bytes(self._payload)
        self.forget()
        return whole

    def forget(self) -> None:
        """Give up what is there."""
        self.ids = b""
        self._payload = bytearray()

    def _take(self, payload: bytes) -> None:
        if len(self._payload) + len(payload) > self._largest:
            raise ProtocolError(Status.FRAME_TOO_BIG, f"fragments of more than {self._largest} bytes together")
        self._payload += payload
