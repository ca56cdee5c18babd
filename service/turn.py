"""One file's way through a request: the body, the waiting line, decoding and the network."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Never

from fastapi import Request
from starlette.requests import ClientDisconnect

from contract.errors import InputError
from service.decoding import DecodedInput
from service.engine import Outputs
from service.metrics import Metrics
from service.state import State


class Turn:
    """A file that has a lane of the line; `model` answers it from here to its end."""

    def __init__(self, request: Request, state: State, data: bytearray) -> None:
        self.model = state.model
        self._request = request
        self._state = state
        self.metrics: Metrics = request.app.state.metrics
        self._data = data

    async def check_client(self) -> None:
        """Raise ClientDisconnect where the client has gone; go before each part of the work.

        Asking also makes uvicorn read from the socket again. It stops while much of a body lies
        unread, so the first call is what lets later ones notice that the client has gone.
        """
        asking = self._request.receive().__await__()
        try:
            # One step by hand: for that `is_disconnected` has anyio write out this task each time.
            asking.send(None)
        except StopIteration as answered:
            if answered.value["type"] == "http.disconnect":
                raise ClientDisconnect from None
        finally:
            asking.close()

    async def decode(self, display_side: int = 0) -> DecodedInput:
        """Decode the file; `display_side` as for Decoder.decode."""
        await self.check_client()
        size = self.model.bundle.input_size
        try:
            with self.metrics.decode.time():
                decoded = await self._state.decoder.decode(self._data, size, display_side)
        except InputError as error:
            self.metrics.count_decode_failure(error.code)
            self._request.state.sha256 = await asyncio.to_thread(_sha256, self._data)
            raise
        self._request.state.sha256 = decoded.sha256
        return decoded

    async def infer(self, decoded: DecodedInput) -> Outputs:
        """Answer the file."""
        await self.check_client()
        self._request.state.model = self.model.bundle.digest
        with self.metrics.inference.time():
            return await self._state.inference.infer(self.model.engine, decoded.pixels)


@asynccontextmanager
async def take_turn(request: Request) -> AsyncIterator[Turn]:
    """Read the body and wait in line; `service.guard` has refused the request of a full line.

    Raises what Uploads.receive and WaitingLine.turn raise.
    """
    state: State = request.app.state.service
    async with (
        state.uploads.receive(request) as data,
        state.line.turn(partial(_leave, request)),
    ):
        yield Turn(request, state, data)


async def _leave(request: Request) -> Never:
    """Raise ClientDisconnect as soon as the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


def _sha256(data: bytearray) -> str:
    return hashlib.sha256(data).hexdigest()
