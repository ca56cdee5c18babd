"""A multipart form, piece by piece -> the content of its one file, in memory only."""

from collections.abc import AsyncIterator
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

PART: Final = "file"


class FormError(Exception):
    """A form that is damaged or holds anything but one file; `code` says which."""

    def __init__(
        self,
        detail: str = "The multipart body is cut short or is damaged.",
        code: str = "malformed_multipart",
    ) -> None:
        super().__init__(detail)
        self.code = code


async def read_file(boundary: bytes, body: AsyncIterator[bytes]) -> bytearray:
    """Return the content of the one file of a form (RFC 7578), named PART, from its body in pieces.

    Raises FormError for a form that is damaged or holds anything else, as soon as that is known.
    """
    # Apart from its parser: two that hold each other would keep the body until garbage is sought.
    form, false_ends = _Form(), _FalseEnds(boundary)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin_part,
                "on_header_field": form.take_name,
                "on_header_value": form.take_value,
                "on_header_end": form.end_header,
                "on_headers_finished": form.end_head,
                "on_part_data": form.take_content,
                "on_end": form.end,
            },
        )
        async for piece in body:
            false_ends.check(piece)
            parser.write(piece)
            if false_ends.ended and not form.ended:  # the parser took it for a header or content
                raise _false_end()
    except FormParserError as error:
        raise form.explain() from error
    return form.content()


class _Form:
    """What a parser has found so far."""

    def __init__(self) -> None:
        self.ended = self._begun = self._in_head = False
        self._name = self._value = self._disposition = b""
        self._file: bytearray | None = None

    def content(self) -> bytearray:
        """Return the content of the file after the whole body."""
        if not self.ended:
            raise FormError
        if self._file is None:
            raise _no_file()
        return self._file

    def explain(self) -> FormError:
        """Tell what the parser stopped at."""
        if not self._begun:
            # RFC 2046, section 5.1.1, allows text before it; python-multipart does not.
            return FormError("The body does not begin with the boundary that Content-Type names.")
        if self._in_head:
            return FormError("The part has a damaged header, more than 8 headers, or one too long.")
        return FormError()

    def begin_part(self) -> None:
        self._begun = self._in_head = True
        self._disposition = b""

    def take_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def end_head(self) -> None:
        self._in_head = False
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise FormError("The part's Content-Disposition has no name=; call it 'file'.")
        if b"filename" not in options:
            detail = (
                "Send one part named 'file' and no other, with filename= (filename*= does not "
                "count)."
            )
            raise FormError(detail, "unexpected_part")
        if self._file is not None:
            raise FormError("Send exactly one file in a request.", "several_files")
        if options[b"name"] != PART.encode():
            raise _no_file()
        self._file = bytearray()

    def take_content(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None, "content before the end of its headers"
        self._file += memoryview(data)[start:end]

    def end(self) -> None:
        self.ended = True


class _FalseEnds:
    """Finds lines that start with the boundary but have more text after it.

    No part may hold one (RFC 2046, 5.1.1), and python-multipart reads on from it byte by byte: a
    file of nothing else would keep the event loop for seconds. Blanks after a boundary, which
    mail may add, are refused with it.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._tail = b""
        self.ended = False

    def check(self, piece: bytes) -> None:
        """Look through the next piece of a body, and over its seam with the one before.

        Raises FormError for a false end. After what looks like the end of the form all passes.
        """
        if self.ended:
            return
        beyond = len(self._delimiter) + 2
        seam = self._tail + piece[:beyond]
        self.ended = self._find_end(seam) or self._find_end(piece)
        self._tail = (self._tail + piece[1 - beyond :])[1 - beyond :]

    def _find_end(self, data: bytes) -> bool:
        """Return whether the form ends in `data`."""
        at = data.find(self._delimiter)
        while at >= 0:
            end = at + len(self._delimiter)
            follows = data[end : end + 2]
            if follows == b"--":
                return True
            if len(follows) == 2 and follows != b"\r\n":
                raise _false_end()
            at = data.find(self._delimiter, end)
        return False


def _false_end() -> FormError:
    return FormError("A line within the file begins with the boundary; choose another.")


def _no_file() -> FormError:
    return FormError("Send one part named 'file' that holds the image.", "missing_file")
