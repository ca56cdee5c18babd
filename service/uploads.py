"""The body of a request -> the bytes of its one file, in memory only."""

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

PART = "file"
_MIB = 1 << 20
_MULTIPART_OVERHEAD = 64 * 1024
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


async def read_upload(request: Request, max_mib: int) -> bytes:
    """Return the content of the one part named `file`; its file name is never used.

    Raises UploadError where the body is too large, no multipart form, or not exactly that.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UploadError(
            415,
            "not_multipart",
            "Send multipart/form-data with one part named 'file', as curl -F file=@image.png does.",
        )
    parser = _InMemoryParser(
        request.headers, _bounded(request, max_mib), max_files=1, max_fields=0, max_part_size=1
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _explain(error) from error
    if not parser.complete:
        raise _malformed()
    upload = form.get(PART)
    if not isinstance(upload, UploadFile):
        raise UploadError(400, "missing_file", "Send one part named 'file' that holds the image.")
    data = await upload.read()
    await upload.close()
    if not data:
        raise UploadError(400, "empty_file", "The file is empty; send the bytes of the image.")
    if len(data) > max_mib * _MIB:
        raise _too_large(max_mib)
    return data


async def _bounded(request: Request, max_mib: int) -> AsyncGenerator[bytes, None]:
    """Yield the body, refused as soon as its declared or received length passes the limit."""
    limit = max_mib * _MIB + _MULTIPART_OVERHEAD
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(max_mib)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_large(max_mib)
        yield chunk


def _too_large(max_mib: int) -> UploadError:
    return UploadError(413, "body_too_large", f"The file is larger than {max_mib} MiB.")


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
