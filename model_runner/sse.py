"""Server-sent events, as raw bytes from the network to raw bytes of JSON.

Reads what inference engines send: `data:` lines, LF or CRLF, comments, events and
characters split anywhere. It does not look into the payload, and it ignores the fields
`event`, `id` and `retry`, which no Chat Completions engine gives a meaning to. Lines that
end in a lone CR are not understood; they run into the size bound.

Source: WHATWG HTML section 9.2.6, "Interpreting an event stream".
"""

from __future__ import annotations

from model_runner.types import MalformedOutput

MAX_EVENT_BYTES = 1024 * 1024  # no token is that long; an engine that sends more is broken

DONE = b"[DONE]"  # the payload that ends a Chat Completions stream


class EventReader:
    """Turns network reads into the payloads of whole events."""

    def __init__(self) -> None:
        self._tail: list[bytes] = []  # pieces of a line that has not ended yet
        self._tail_bytes = 0
        self._fields: list[bytes] = []  # `data` of the event that has not ended yet
        self._field_bytes = 0

    def push(self, received: bytes) -> list[bytes]:
        """Return the payload of each event that `received` completes, in order.

        Raises:
            MalformedOutput: If one event is larger than `MAX_EVENT_BYTES`.
        """
        last_newline = received.rfind(b"\n")
        if last_newline < 0:
            self._keep(received)
            return []
        lines = b"".join((*self._tail, received[:last_newline])).split(b"\n")
        self._tail.clear()
        self._tail_bytes = 0
        self._keep(received[last_newline + 1 :])
        return self._payloads(lines)

    def close(self) -> list[bytes]:
        """Return the payload of an event whose closing blank line never came."""
        return self.push(b"\n\n")

    def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        self._tail.append(piece)
        self._tail_bytes += len(piece)
        if self._tail_bytes > MAX_EVENT_BYTES:
            raise MalformedOutput(f"the engine sent a line of more than {MAX_EVENT_BYTES} bytes")

    def _payloads(self, lines: list[bytes]) -> list[bytes]:
        payloads: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._add(line[5:])
            elif (not line or line == b"\r") and self._fields:
                fields = self._fields
                payloads.append(fields[0] if len(fields) == 1 else b"\n".join(fields))
                self._fields = []
                self._field_bytes = 0
        return payloads

    def _add(self, field: bytes) -> None:
        self._field_bytes += len(field)
        if self._field_bytes > MAX_EVENT_BYTES:
            raise MalformedOutput(f"the engine sent an event of more than {MAX_EVENT_BYTES} bytes")
        self._fields.append(field.strip())  # whitespace around JSON means nothing
