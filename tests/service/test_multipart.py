"""False ends of a form: found however a body is cut, and no true one is taken for false."""

import asyncio

import pytest
from starlette.formparsers import MultiPartException

from service.multipart import _without_false_ends

WHOLE = b"\r\n--bound\r\nhead\r\n\r\nfile -- \r\n--boun\r\n--bound--\r\nand \r\n--bound more"


def pass_through(body: bytes, size: int) -> bytes:
    """Send a body in pieces of this size through the check for false ends."""

    async def pieces():
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def collect() -> bytes:
        return b"".join([piece async for piece in _without_false_ends(pieces(), b"bound")])

    return asyncio.run(collect())


@pytest.mark.parametrize("size", range(1, len(WHOLE) + 1))
def test_a_form_passes_and_a_false_end_in_it_does_not_in_pieces_of_any_size(size):
    assert pass_through(WHOLE, size) == WHOLE
    for false in (b"\r\n--bound more", b"\r\n--bound-\r", b"\r\n--bound\n"):
        with pytest.raises(MultiPartException):
            pass_through(WHOLE.replace(b"file", false), size)
