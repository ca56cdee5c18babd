"""The rest of a request body that arrives after its answer: read and discarded.

A connection that closes with bytes unread is reset, and the reset overtakes the answer: a client
that sends all before it reads would never learn why it was refused (RFC 9112, section 9.6).
"""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OF_A_BODY: Final = (b"content-length", b"transfer-encoding")
_CLOSE: Final = (b"connection", b"close")


class UnreadBodies:
    """Where the connection closes after an answer, holds its end back until the body has arrived.

    For `timeout_s` seconds at most. The client has the whole answer before, since its length stands
    in its head. On a connection that stays open service.protocol drops the rest of a body.
    """

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if not any(name in _OF_A_BODY for name, _ in scope.get("headers", ())):
            await self._app(scope, receive, send)
            return
        more, put_off, closes = True, False, _may_close(scope)

        async def receive_and_note() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def put_off_the_end(message: Message) -> None:
            nonlocal put_off, closes
            if message["type"] == "http.response.start":
                closes = closes or _CLOSE in message["headers"]
            end = message["type"] == "http.response.body" and not message.get("more_body")
            put_off = end and more and closes
            await send({**message, "more_body": True} if put_off else message)

        await self._app(scope, receive_and_note, put_off_the_end)
        if put_off:
            # Cancelled when the time for draining is over.
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(self._timeout_s):
                    while more:
                        await receive_and_note()
            await send({"type": "http.response.body"})


def _may_close(scope: Scope) -> bool:
    """Whether the client asked for a close, or may close itself as it waits for `100 Continue`."""
    if scope["http_version"] != "1.1":
        return True
    headers = scope["headers"]
    return any(
        name == b"expect" or (name == b"connection" and b"close" in value.lower())
        for name, value in headers
    )
