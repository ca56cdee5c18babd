"""Uvicorn's HTTP/1.1 with limits on time and chunks where it has none.

It waits for ever for a head that has begun and for a client to take its answer, and it reads tiny
chunks for as long as they come. The body of a request has its budget of time in `service.uploads`,
one that nobody reads in `service.unread`.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import h11
from h11._readers import ContentLengthReader
from uvicorn.protocols.http.h11_impl import H11Protocol

_CHUNKS_OF_ANY_SIZE: Final = 1024
_MEAN_CHUNK_BYTES: Final = 256
"""Of those beyond: h11 takes some 6 us for a chunk of any size, and others have to wait."""

_WHAT_TO_SEND: Final = {
    431: "Send less than 16 KiB of headers and URL.",
    501: "Send a body with its Content-Length, or with Transfer-Encoding: chunked.",
}


class _BoundedConnection(h11.Connection):
    """Refuses what h11 accepts; `refusal` is the status to answer, `advice` what to do instead.

    Chunks so small that they cost more than they bring, and a request that tells the length of its
    body in two ways, which another server before this one may read otherwise (RFC 9112, 6.3).
    """

    refusal = 400
    advice = ""
    _chunks = 0
    _bytes = 0

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            self._drop_empty_lines()
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.refusal = error.error_status_hint
            raise
        # h11's classes are abstract ones, for which isinstance is slow.
        if type(event) is h11.Request:
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError("two lengths")
            if event.target.startswith((b"http://", b"https://")):
                event = _in_origin_form(event)
            self._chunks = self._bytes = 0
        elif type(event) is h11.Data:
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > _CHUNKS_OF_ANY_SIZE + self._bytes // _MEAN_CHUNK_BYTES:
                self.advice = f"Send chunks of {_MEAN_CHUNK_BYTES} bytes and more."
                raise h11.RemoteProtocolError("chunks too small")
        return event

    def drop(self, data: bytes) -> bool:
        """Whether data was but a part of a body whose answer is out, and so is done with.

        h11 would copy it twice. The end of the body is left to h11, which knows what follows.
        """
        reader = self._reader
        if (
            self.our_state is not h11.DONE
            or type(reader) is not ContentLengthReader
            or len(self._receive_buffer)
            or len(data) >= reader._remaining  # noqa: SLF001
        ):
            return False
        reader._remaining -= len(data)  # noqa: SLF001
        return True

    def _drop_empty_lines(self) -> None:
        """Skip the empty lines that some clients send first (RFC 9112, 2.2), an error for h11."""
        buffer = self._receive_buffer
        begun = buffer._data  # noqa: SLF001 - a copy of it costs more than all else here
        if begun.startswith((b"\r", b"\n")):
            buffer.maybe_extract_at_most(len(begun) - len(begun.lstrip(b"\r\n")))


def _in_origin_form(request: h11.Request) -> h11.Request:
    """Take the absolute form, as a client sends to a proxy, for what it means (RFC 9112, 3.2.2)."""
    authority, _, path = request.target.partition(b"://")[2].partition(b"/")
    headers = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        target=b"/" + path,
        headers=[(b"host", authority), *headers],
        http_version=request.http_version,
    )


class _BoundedProtocol(H11Protocol):
    conn: _BoundedConnection
    head_timeout_s: float
    body_timeout_s: float
    connections_at_most: int
    _waiting: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most = self.config.h11_max_incomplete_event_size
        assert most is not None
        self.conn = _BoundedConnection(h11.SERVER, most)
        self._wait(self.head_timeout_s)
        if len(self.connections) > self.connections_at_most:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._waiting)
        _cancel(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.conn.drop(data):
            super().data_received(data)

    def handle_events(self) -> None:
        before, dropping = self.cycle, self.conn.their_state is h11.SEND_BODY
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            _cancel(self._waiting)
        elif dropping and self.conn.their_state is h11.IDLE:
            self._wait(self.head_timeout_s)

    def _should_upgrade(self) -> bool:
        return False  # and no warning: Java offers h2c with every request

    def on_response_complete(self) -> None:
        if not self.flow.write_paused:
            self._end_writing()
        super().on_response_complete()  # begins a request that was sent ahead
        if not self.cycle.response_complete:
            return
        idle = self.conn.their_state is h11.IDLE and not self.transport.get_write_buffer_size()
        # A body that was answered before its end is dropped as it comes.
        self._wait(self.head_timeout_s if idle else self.body_timeout_s)

    def _wait(self, timeout_s: float) -> None:
        _cancel(self._waiting)
        self._waiting = self.loop.call_later(timeout_s, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None:  # what the application still says would follow the 400
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # it has its answer
            self.transport.close()
            return
        # With its length: a close with bytes unread resets the connection, and a client that
        # read on to its end would meet that instead of the answer.
        status = HTTPStatus(self.conn.refusal)
        body = (self.conn.advice or _WHAT_TO_SEND.get(status, msg)).encode("ascii")
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        response = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
        events = (response, h11.Data(data=body), h11.EndOfMessage())
        self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:  # else it runs since an earlier piece of the answer
            self._writing = self.loop.call_later(self.body_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._end_writing()

    def _end_writing(self) -> None:
        _cancel(self._writing)
        self._writing = None


def bounded_protocol(
    head_timeout_s: float, body_timeout_s: float, connections_at_most: int
) -> type[H11Protocol]:
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


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
