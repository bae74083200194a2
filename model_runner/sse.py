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
        self._tail = b""  # the event that has not ended yet

    def push(self, received: bytes) -> list[bytes]:
        """Return the payload of each event that `received` completes, in order.

        Raises:
            MalformedOutput: If one event is larger than `MAX_EVENT_BYTES`.
        """
        pending = self._tail + received
        if b"\r" in pending:
            pending = pending.replace(b"\r\n", b"\n")
        end = pending.rfind(b"\n\n") + 2
        if end < 2:
            self._tail = pending
        else:
            self._tail = pending[end:]
        if len(self._tail) > MAX_EVENT_BYTES:
            raise MalformedOutput(f"the engine sent an event of more than {MAX_EVENT_BYTES} bytes")
        return _payloads(pending[:end]) if end >= 2 else []

    def close(self) -> list[bytes]:
        """Return the payload of an event whose closing blank line never came."""
        return self.push(b"\n\n")


def _payloads(events: bytes) -> list[bytes]:
    payloads: list[bytes] = []
    for event in events.split(b"\n\n"):
        if event.startswith(b"data: ") and b"\n" not in event:
            payloads.append(event[6:])  # what engines send, but for rarities
        elif fields := [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]:
            payloads.append(b"\n".join(field.strip() for field in fields))
    return payloads
