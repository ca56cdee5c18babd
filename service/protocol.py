"""Uvicorn's HTTP/1.1 with limits on time, heads, chunks and requests ahead where it has none.

It waits for ever for a head that has begun and for a client to take its answer. The body of a
request has its budget of time in `service.uploads`, one that nobody reads in `service.unread`.
"""

import asyncio
from typing import Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.request_head import (
    Refused,
    check_head,
    check_size,
    invalid,
    to_origin_form,
    without_offer,
)

_CHUNKS_OF_ANY_SIZE: Final = 1024
_MEAN_CHUNK_BYTES: Final = 256
"""Of those beyond: each chunk is a call whatever its size, for which others have to wait."""
_REQUESTS_AHEAD: Final = 256
"""Sent behind one that is still worked on."""


class _Flow(FlowControl):
    """Reads no further while several requests wait behind one that is worked on.

    With one of them it does: nothing else tells that the client has gone.
    """

    behind = False

    def resume_reading(self) -> None:
        if not self.behind:
            super().resume_reading()


class _BoundedProtocol(HttpToolsProtocol):
    """`cycle` is the request that was read last, `_answered` the one whose turn it is."""

    flow: _Flow
    head_timeout_s: float
    body_timeout_s: float
    connections_at_most: int
    _answered: RequestResponseCycle | None = None
    _refused: Refused | None = None
    """Why nothing more is read."""
    _in_head = _in_body = False
    _beside_bodies = _body_bytes = _chunks = 0
    _waiting: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._wait(self.head_timeout_s)
        if len(self.connections) > self.connections_at_most:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._waiting)
        _cancel(self._writing)
        if self._answered is not None:
            _disconnect(self._answered)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        # Of heads, lines between chunks and what follows the last; set back in the callbacks.
        self._beside_bodies += len(data)
        try:
            self._feed(data)
            if self._in_head or self._in_body:
                check_size(self._beside_bodies)
        except (httptools.HttpParserError, Refused) as error:
            self.logger.warning("Invalid HTTP request received.")
            cause = error.__context__ or error  # what a callback raised stands in the context
            self._break_off(cause if isinstance(cause, Refused) else invalid())

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as offered:
                # The parser leaves what follows to the protocol that is offered, as Java's client
                # offers h2c with every request. None is taken (RFC 9110, 7.8): again without it.
                method, version = self.parser.get_method(), self.parser.get_http_version()
                head = without_offer(method, self.url, version, self.headers)
                data = head + data[offered.args[0] :]
                self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._beside_bodies = self._body_bytes = self._chunks = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # those behind a body come when all has been checked
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        check_head(self.parser.get_method(), version, self.headers)
        if self.parser.should_upgrade():
            return
        self.url = to_origin_form(self.url, self.headers)
        self.expect_100_continue &= version == "1.1"  # RFC 9110, section 10.1.1
        super().on_headers_complete()
        self._in_head, self._in_body = False, True
        self.flow.behind = len(self.pipeline) > 1
        if len(self.pipeline) > _REQUESTS_AHEAD:
            raise Refused(400, "Wait for answers before sending more requests.")
        _cancel(self._waiting)

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        self._beside_bodies = 0
        self._body_bytes += len(body)
        if self._chunks > _CHUNKS_OF_ANY_SIZE + self._body_bytes // _MEAN_CHUNK_BYTES:
            raise Refused(400, f"Send chunks of {_MEAN_CHUNK_BYTES} bytes and more.")
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_body = False
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait(self.head_timeout_s)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if not self.flow.write_paused:
            self._end_writing()
        self.flow.behind = len(self.pipeline) > 2  # one of which begins now
        super().on_response_complete()  # begins a request that was sent ahead
        if self._answered is None or not self._answered.response_complete:
            return
        if self._refused and not self.transport.is_closing():
            self._refuse(self._refused)
        idle = not self._in_body and not self.transport.get_write_buffer_size()
        # A body that was answered before its end is dropped as it comes.
        self._wait(self.head_timeout_s if idle else self.body_timeout_s)

    def _break_off(self, refused: Refused) -> None:
        """Answer what is no HTTP and close; first come the answers to what was sent before it."""
        self._refused = refused
        before, broken = self._answered, self.cycle if self._in_body else None
        if broken and self.pipeline:
            self.pipeline.popleft()
        if before and before is not broken and not before.response_complete:
            return
        if broken:
            _disconnect(broken)
            if broken.response_started:
                self._close()
                return
        self._refuse(refused)

    def _refuse(self, refused: Refused) -> None:
        self.transport.write(refused.answer())
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self._wait(self.body_timeout_s)  # for what is still to be taken

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:  # else it runs since an earlier piece of the answer
            self._writing = self.loop.call_later(self.body_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answered is None or self._answered.response_complete:
            self._end_writing()

    def _end_writing(self) -> None:
        _cancel(self._writing)
        self._writing = None

    def _wait(self, timeout_s: float) -> None:
        _cancel(self._waiting)
        self._waiting = self.loop.call_later(timeout_s, self.transport.abort)


def bounded_protocol(
    head_timeout_s: float, body_timeout_s: float, connections_at_most: int
) -> type[HttpToolsProtocol]:
    """Make the protocol class that closes a connection once a budget is used up.

    `head_timeout_s`: from connecting, or from the end of an answer, to a whole head.
    `body_timeout_s`: for an answer to be taken. `connections_at_most`: more are closed at once.
    """
    budgets = {
        "head_timeout_s": head_timeout_s,
        "body_timeout_s": body_timeout_s,
        "connections_at_most": connections_at_most,
    }
    return type("BoundedProtocol", (_BoundedProtocol,), budgets)


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the application that nothing more comes from the client, nor goes to it."""
    cycle.disconnected = True
    cycle.message_event.set()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
