"""Forms: the file and no other bytes, and false ends found, however a body is cut."""

import asyncio
import gc
import sys

import pytest

from service.multipart import FormError, read_file

FILE = b"file -- \r\n--boun\r\n--\r\n\r\n-bound"
HEAD = (
    b'Content-Type: image/png\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
)
BEHIND = b"\r\nand \r\n--bound more"
WHOLE = b"--bound\r\n" + HEAD + FILE + b"\r\n--bound--" + BEHIND
SIZES = range(1, len(WHOLE) + 1)


def read(body: bytes, size: int) -> bytes:
    """Read a form whose body comes in pieces of this size."""
    return read_pieces([body[start : start + size] for start in range(0, len(body), size)])


def read_pieces(pieces: list[bytes]) -> bytes:
    async def come():
        for piece in pieces:
            yield piece

    return asyncio.run(read_file(b"bound", come()))


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_read_to_the_byte_in_pieces_of_any_size(size):
    assert read(WHOLE, size) == FILE
    assert read(WHOLE.replace(FILE, b""), size) == b""


@pytest.mark.parametrize("size", SIZES)
def test_a_false_end_is_found_in_pieces_of_any_size(size):
    for false in (b"\r\n--bound more", b"\r\n--bound-\r", b"\r\n--bound\n"):
        with pytest.raises(FormError, match="begins with the boundary"):
            read(WHOLE.replace(FILE, false), size)


@pytest.mark.parametrize(
    "body",
    [
        b"--bound\r\n" + HEAD + b"--bound--",
        b"--bound\r\n--bound--: x\r\n" + HEAD,
    ],
    ids=["as content", "as a header"],
)
def test_an_end_that_the_parser_does_not_see_ends_the_form_all_the_same(body):
    """Else false ends behind it would be read on from, byte by byte."""
    with pytest.raises(FormError, match="begins with the boundary"):
        read_pieces([body, b"\r\n--bound more" * 100])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (WHOLE[: -len(BEHIND) - 1], "malformed_multipart"),
        (WHOLE.replace(b'name="file"; ', b""), "malformed_multipart"),
        (WHOLE.replace(b"Content-Disposition", b"Content Disposition"), "malformed_multipart"),
        (WHOLE.replace(b'; filename="a"', b""), "unexpected_part"),
        (WHOLE.replace(b'"file"', b'"image"'), "missing_file"),
        (b"--bound--", "missing_file"),
        (WHOLE.replace(FILE, FILE + b"\r\n--bound\r\n" + HEAD), "several_files"),
    ],
    ids=["cut", "no name", "blank in a name", "a field", "another name", "no part", "two files"],
)
@pytest.mark.parametrize("size", [1, 7, len(WHOLE)])
def test_what_is_no_form_of_one_file_is_refused_by_what_it_is(body, code, size):
    with pytest.raises(FormError) as refused:
        read(body, size)
    assert refused.value.code == code


def test_a_second_file_is_refused_before_its_content_has_come():
    first = WHOLE[: WHOLE.index(FILE)] + FILE
    with pytest.raises(FormError, match="exactly one"):
        read_pieces([first, b"\r\n--bound\r\n" + HEAD])


def test_a_body_is_held_no_longer_than_it_is_needed():
    """A parser and a form that hold each other would keep it until Python seeks garbage."""
    gc.disable()
    try:
        content = read(WHOLE, 7)
        holders = sys.getrefcount(content) - sys.getrefcount(bytearray(content)) - 1
    finally:
        gc.enable()
    assert holders == 0
