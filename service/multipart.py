"""A multipart form of one file, parsed in memory; a body that would stall the parser is refused."""

from collections.abc import AsyncGenerator
from typing import Final

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

FALSE_END: Final = "A line begins with the boundary and goes on."


class FormParser(MultiPartParser):
    """Parses a form that holds one file and nothing else.

    `begun`, `complete`: whether its first and its last boundary were met. `parse` raises
    MultiPartException for another form, and for a line of a part that begins with the boundary.
    """

    # Never reached, so that no upload is spooled to a disk.
    spool_max_size = 1 << 62
    begun = False
    complete = False

    def __init__(self, boundary: bytes, body: AsyncGenerator[bytes, None]) -> None:
        super().__init__(
            _content_type(boundary),
            _without_false_ends(body, boundary),
            max_files=1,
            max_fields=0,
            max_part_size=1,
        )

    def on_part_begin(self) -> None:
        """Note that there is a part."""
        self.begun = True
        super().on_part_begin()

    def on_end(self) -> None:
        """Note that the form is whole."""
        self.complete = True


def _content_type(boundary: bytes) -> Headers:
    """Return a Content-Type with the boundary and without the client's charset.

    Python keeps the name of every charset that it was asked for and does not know, for good.
    """
    quoted = boundary.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return Headers(raw=[(b"content-type", b'multipart/form-data; boundary="' + quoted + b'"')])


async def _without_false_ends(
    body: AsyncGenerator[bytes, None], boundary: bytes
) -> AsyncGenerator[bytes, None]:
    """Yield the body; refuse a line that starts with the boundary but has more text after it.

    No part may hold one (RFC 2046, 5.1.1), and python-multipart reads on from it byte by byte: a
    file of nothing else would keep the event loop for seconds. Blanks after a boundary, which
    mail may add, are refused with it.
    """
    delimiter = b"\r\n--" + boundary
    ended, tail = False, b""
    async for chunk in body:
        if not ended:
            seam = tail + chunk[: len(delimiter) + 2]
            ended = any(_check(part, delimiter) for part in (seam, chunk))
            tail = (tail + chunk[-len(delimiter) - 1 :])[-len(delimiter) - 1 :]
        yield chunk


def _check(data: bytes, delimiter: bytes) -> bool:
    """Return whether the form ends in `data`; raises MultiPartException for a false end."""
    at = data.find(delimiter)
    while at >= 0:
        end = at + len(delimiter)
        follows = data[end : end + 2]
        if follows == b"--":
            return True
        if len(follows) == 2 and follows != b"\r\n":
            raise MultiPartException(FALSE_END)
        at = data.find(delimiter, end)
    return False
