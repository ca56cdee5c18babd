"""The rest of a body that was answered before it had all arrived: taken, and thrown away.

A connection that closes with bytes unread is reset, and the reset overtakes the answer: a client
that sends all before it reads would never learn why it was refused (RFC 9112, section 9.6).
"""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OF_A_BODY: Final = (b"content-length", b"transfer-encoding")


class UnreadBodies:
    """Lets an answer end when the body of its request has, or after `timeout_s` seconds.

    The client has the whole answer before: its length stands in its head.
    """

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if not any(name in _OF_A_BODY for name, _ in scope.get("headers", ())):
            await self._app(scope, receive, send)
            return
        more, put_off = True, False

        async def receive_and_note() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def put_off_the_end(message: Message) -> None:
            nonlocal put_off
            end = message["type"] == "http.response.body" and not message.get("more_body")
            put_off = end and more
            await send({**message, "more_body": True} if put_off else message)

        await self._app(scope, receive_and_note, put_off_the_end)
        if put_off:
            # Cancelled when the time for draining is over.
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(self._timeout_s):
                    while more:
                        await receive_and_note()
            await send({"type": "http.response.body"})
