"""Uvicorn's HTTP/1.1 with budgets of time for what it would wait for without end.

It waits for ever for a head that has begun, for the rest of a body that was answered before it had
all arrived, and for a client to take its answer. The body of a request under way
has its budget in `service.uploads`. What is no HTTP gets an answer that says where it ends.
"""

import asyncio
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    _Timer = asyncio.TimerHandle


def bounded_protocol(head_timeout_s: float, body_timeout_s: float) -> type[H11Protocol]:
    """Make the protocol class that closes a connection once a budget is used up.

    `head_timeout_s`: from connecting, or from the end of an answer, to a whole head.
    `body_timeout_s`: for the rest of a body that nobody reads, and for an answer to be taken.
    """

    class BoundedProtocol(H11Protocol):
        _waiting: "_Timer | None" = None
        _writing: "_Timer | None" = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._waiting = self.loop.call_later(head_timeout_s, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            _cancel(self._waiting)
            _cancel(self._writing)
            super().connection_lost(exc)

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and not self.cycle.response_complete:
                _cancel(self._waiting)

        def on_response_complete(self) -> None:
            super().on_response_complete()  # begins a request that was sent ahead
            if not self.cycle.response_complete:
                return
            idle = self.conn.their_state is h11.IDLE and not self.transport.get_write_buffer_size()
            _cancel(self._waiting)
            timeout_s = head_timeout_s if idle else body_timeout_s
            self._waiting = self.loop.call_later(timeout_s, self.transport.abort)

        def send_400_response(self, msg: str) -> None:
            # With its length: a close with bytes unread resets the connection, and a client that
            # read on to its end would meet that instead of the answer.
            body = msg.encode("ascii")
            headers = [
                ("content-type", "text/plain; charset=utf-8"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            events = (response, h11.Data(data=body), h11.EndOfMessage())
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
            self.transport.close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._writing = self.loop.call_later(body_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            _cancel(self._writing)

    return BoundedProtocol


def _cancel(timer: "_Timer | None") -> None:
    if timer is not None:
        timer.cancel()
