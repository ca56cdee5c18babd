"""The body of a request -> the bytes of its one file, in memory only."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from python_multipart.multipart import MAX_BOUNDARY_LENGTH, parse_options_header
from starlette.requests import Request

from service.multipart import FormError, read_file
from service.scheduling import LineFull

_MIB: Final = 1 << 20
_ROOM_RETRY_S: Final = 2
_MULTIPART_OVERHEAD: Final = 64 * 1024
"""Room for boundaries and part headers beside the file, in bytes."""


class UploadError(Exception):
    """A request whose body does not hold exactly one file; `status` and `code` say how.

    `headers` go with the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = headers


class Uploads:
    """Reads bodies, holding at most `max_buffered_mib` of them and of large answers together.

    One key may hold half of that, or one body if that is more, so that stalled uploads of one
    client do not shut out the rest. `max_mib`: largest file. `timeout_s`: wall time for one body
    to arrive.
    """

    def __init__(self, max_mib: int, max_buffered_mib: int, timeout_s: float) -> None:
        self._max_mib = max_mib
        self._max_body = max_mib * _MIB + _MULTIPART_OVERHEAD
        self._max_held = max_buffered_mib * _MIB
        self._max_held_of_one = max(self._max_held // 2, self._max_body)
        self.held_bytes = 0
        self._held_of: Counter[str] = Counter()
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[bytearray]:
        """Hold the content of the one part named `file`; its file name is never used.

        Raises UploadError where the body is too large or slow, no multipart form, or not exactly
        that, LineFull where there is no room for it now.
        """
        taken: list[int] = []
        try:
            data = await self._read_form(request, taken)
            request.scope["state"]["uploaded"] = time.monotonic()
            if not data:
                raise UploadError(
                    400, "empty_file", "The file is empty; send the bytes of the image."
                )
            if len(data) > self._max_mib * _MIB:
                raise self._too_large()
            yield data
        finally:
            self._hold(request, -sum(taken))

    @contextmanager
    def hold_answer(self, request: Request, count: int) -> Iterator[None]:
        """Count the bytes of an answer as those of bodies until its client has taken it.

        Raises LineFull where there is no room for it now.
        """
        try:
            self._take(request, count)
            yield
        finally:
            self._hold(request, -count)

    async def _read_form(self, request: Request, taken: list[int]) -> bytearray:
        boundary = _find_boundary(request)
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await read_file(boundary, self._bounded(request, taken))
        except TimeoutError as error:
            detail = f"The body did not arrive within {self._timeout_s:g} s; send it again."
            raise UploadError(408, "upload_timeout", detail, {"Connection": "close"}) from error
        except FormError as error:
            raise UploadError(400, error.code, str(error)) from error

    async def _bounded(self, request: Request, taken: list[int]) -> AsyncGenerator[bytes, None]:
        """Yield the body, refused as soon as what has arrived passes a limit."""
        received = 0
        async for piece in request.stream():
            received += len(piece)
            if received > self._max_body:
                raise self._too_large()
            taken.append(len(piece))
            self._take(request, len(piece))
            yield piece

    def _take(self, request: Request, count: int) -> None:
        """Hold bytes; raises LineFull where they are more than there is room for."""
        held_of_one = self._hold(request, count)
        if self.held_bytes > self._max_held or held_of_one > self._max_held_of_one:
            raise LineFull(_ROOM_RETRY_S)

    def _hold(self, request: Request, count: int) -> int:
        """Count bytes, or give them back; return those of a client with a key, else 0."""
        self.held_bytes += count
        client = request.scope["state"].get("client")
        if client is None:
            return 0
        self._held_of[client] += count
        held = self._held_of[client]
        if not held:
            del self._held_of[client]
        return held

    def _too_large(self) -> UploadError:
        return UploadError(
            413,
            "body_too_large",
            f"The file is larger than {self._max_mib} MiB; send it compressed without loss.",
        )


def _find_boundary(request: Request) -> bytes:
    """Return the boundary of a form; raises UploadError where the headers tell of another body."""
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        detail = (
            "Send multipart/form-data with one part named 'file', as curl -F file=@image.png does."
        )
        raise UploadError(415, "not_multipart", detail)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        detail = "Send the body as it is, without Content-Encoding."
        raise UploadError(415, "encoded_body", detail, {"Accept-Encoding": "identity"})
    if not (boundary := options.get(b"boundary")):
        detail = "Content-Type names no boundary; let your HTTP library write this header."
        raise UploadError(400, "malformed_multipart", detail)
    if len(boundary) > MAX_BOUNDARY_LENGTH:  # 70 by RFC 2046, section 5.1.1
        detail = f"The boundary has more than {MAX_BOUNDARY_LENGTH} bytes; choose a shorter one."
        raise UploadError(400, "malformed_multipart", detail)
    return boundary
