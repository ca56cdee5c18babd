"""Uvicorn that ends without losing a request: unready, then closed to new clients, then drained."""

import asyncio
import ctypes
import socket
from contextlib import suppress
from functools import partial
from struct import pack
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

_LAST_REQUESTS_S: Final = 0.5
_SO_ATTACH_FILTER: Final = 26
# Classic BPF over the TCP header (RFC 9293, section 3.1; byte 13 holds SYN as 2 and ACK as 16).
_NO_NEW_CONNECTIONS: Final = b"".join(
    pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load byte 13
        (0x54, 0, 0, 0x12),  # keep SYN and ACK
        (0x15, 0, 1, 0x02),  # SYN alone begins a connection
        (0x06, 0, 0, 0),  # drop it
        (0x06, 0, 0, 0xFFFFFFFF),  # take everything else
    )
)


class DrainingServer(uvicorn.Server):
    """Serves until SIGTERM or SIGINT; then unready for `drain_s` seconds, then ends in order.

    `handshake_s`: for a TLS handshake.
    """

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, drain_s: float, handshake_s: float
    ) -> None:
        super().__init__(config)
        self._app = app
        self._drain_s = drain_s
        self._handshake_s = handshake_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve; uvicorn has no setting for the time of a handshake, which is a minute."""
        loop = asyncio.get_running_loop()
        if self.config.ssl:
            create = partial(loop.create_server, ssl_handshake_timeout=self._handshake_s)
            loop.create_server = create  # type: ignore[method-assign]
        await super().startup(sockets)

    def handle_exit(self, _sig: int, _frame: FrameType | None) -> None:
        """Begin to drain; at once where it is still starting, or asked twice."""
        state = getattr(self._app.state, "service", None)
        if state is None or state.draining:
            self.should_exit = True
            return
        state.draining = True
        asyncio.get_running_loop().call_later(self._drain_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let in who has connected, and wait a moment for what they have to send."""
        for listening in sockets or ():
            refuse_new_connections(listening)
        await asyncio.sleep(_LAST_REQUESTS_S)
        # Uvicorn closes connections that have sent nothing yet; what was accepted a moment ago may
        # have its request on the way.
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_REQUESTS_S)
        await super().shutdown(sockets)


def refuse_new_connections(listening: socket.socket) -> None:
    """Have the kernel ignore new clients of a listening socket, and keep those that it answered.

    Closing the socket would reset who is connected and not yet accepted. Does nothing where the
    kernel knows no such filter.
    """
    program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS, len(_NO_NEW_CONNECTIONS))
    length = len(_NO_NEW_CONNECTIONS) // 8
    with suppress(OSError):
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, pack("HP", length, ctypes.addressof(program))
        )
