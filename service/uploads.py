"""The body of a request -> the bytes of its one file, in memory only."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.scheduling import LineFull

PART: Final = "file"
_MIB: Final = 1 << 20
_ROOM_RETRY_S: Final = 2
_MULTIPART_OVERHEAD: Final = 64 * 1024
"""Room for boundaries and part headers beside the file, in bytes."""


class UploadError(Exception):
    """A request whose body does not hold exactly one file; `status` and `code` say how."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class _InMemoryParser(MultiPartParser):
    # Never reached, so that no upload is spooled to a disk.
    spool_max_size = 1 << 62
    complete = False

    def on_end(self) -> None:
        self.complete = True


class Uploads:
    """Reads bodies, holding at most `max_buffered_mib` of all of them together.

    `max_mib`: largest file. `timeout_s`: wall time for one body to arrive.
    """

    def __init__(self, max_mib: int, max_buffered_mib: int, timeout_s: float) -> None:
        self._max_mib = max_mib
        self._room = max_buffered_mib * _MIB
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[bytes]:
        """Hold the content of the one part named `file`; its file name is never used.

        `request.state.sha256` is set to its SHA-256, for the answer and the log.

        Raises UploadError where the body is too large or slow, no multipart form, or not exactly
        that, LineFull where there is no room for it now.
        """
        taken: list[int] = []
        try:
            data = await self._read_form(request, taken)
            if not data:
                raise UploadError(
                    400, "empty_file", "The file is empty; send the bytes of the image."
                )
            if len(data) > self._max_mib * _MIB:
                raise self._too_large()
            request.state.sha256 = await asyncio.to_thread(_sha256, data)
            yield data
        finally:
            self._room += sum(taken)

    async def _read_form(self, request: Request, taken: list[int]) -> bytes:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "multipart/form-data":
            raise UploadError(
                415,
                "not_multipart",
                "Send multipart/form-data with one part named 'file', as curl -F file=@image.png "
                "does.",
            )
        parser = _InMemoryParser(
            request.headers,
            self._bounded(request, taken),
            max_files=1,
            max_fields=0,
            max_part_size=1,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _single_file(await parser.parse(), complete=parser.complete)
        except TimeoutError as error:
            detail = f"The body did not arrive within {self._timeout_s:g} s; send it again."
            raise UploadError(408, "upload_timeout", detail) from error
        except MultiPartException as error:
            raise _explain(error) from error
        except UnicodeError as error:  # from a charset that no text has
            raise _malformed() from error

    async def _bounded(self, request: Request, taken: list[int]) -> AsyncGenerator[bytes, None]:
        """Yield the body, refused as soon as its declared or received length passes a limit."""
        limit = self._max_mib * _MIB + _MULTIPART_OVERHEAD
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            raise self._too_large()
        received = 0
        async for chunk in request.stream():
            taken.append(len(chunk))
            received += len(chunk)
            self._room -= len(chunk)
            if received > limit:
                raise self._too_large()
            if self._room < 0:
                raise LineFull(_ROOM_RETRY_S)
            yield chunk

    def _too_large(self) -> UploadError:
        return UploadError(413, "body_too_large", f"The file is larger than {self._max_mib} MiB.")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def _single_file(form: FormData, *, complete: bool) -> bytes:
    if not complete:
        raise _malformed()
    upload = form.get(PART)
    if not isinstance(upload, UploadFile):
        raise UploadError(400, "missing_file", "Send one part named 'file' that holds the image.")
    data = await upload.read()
    await upload.close()
    return data


def _explain(error: MultiPartException) -> UploadError:
    if error.message.startswith("Too many files"):
        return UploadError(400, "several_files", "Send exactly one file in a request.")
    if error.message.startswith(("Too many fields", "Part exceeded")):
        return UploadError(
            400, "unexpected_part", "Send one part named 'file', with a file name, and no other."
        )
    return _malformed()


def _malformed() -> UploadError:
    return UploadError(400, "malformed_multipart", "The multipart body breaks off or is damaged.")
