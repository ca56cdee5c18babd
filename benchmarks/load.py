"""A load generator that costs little: raw HTTP/1.1 over asyncio, whole requests as ready bytes."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, Self

# The service closes a connection that is idle for 5 s; a request must not meet that.
_STALE_S: Final = 2.0

# As long as curl's; a parser skips as many bytes at a time.
_BOUNDARY: Final = b"-" * 24 + b"d74496d66958873e"

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """Status (0 where the connection broke), body, seconds from the first byte sent, and when."""

    status: int
    body: bytes
    took_s: float
    ended_s: float


def build_request(data: bytes, path: str = "/predict") -> bytes:
    """Return the bytes of a request that posts a file."""
    body = (
        b"--%b\r\n" % _BOUNDARY
        + b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + data
        + b"\r\n--%b--\r\n" % _BOUNDARY
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY.decode()}\r\n\r\n"
    )
    return head.encode() + body


GET_HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Load:
    """Sends requests to one server over connections that are kept open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: list[Answer] = []
        self._idle: list[tuple[float, Stream]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for _, stream in self._idle:
            stream[1].close()

    async def send(self, request: bytes, into: list[Answer] | None = None) -> Answer:
        """Send one request and note its answer."""
        started = time.monotonic()
        try:
            answer = await self._exchange(request, started)
        except (OSError, EOFError):
            answer = _answer(0, b"", started)
        (self.answers if into is None else into).append(answer)
        return answer

    async def _exchange(self, request: bytes, started: float) -> Answer:
        reader, writer = await self._connection()
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await _read_body(reader, head)
            # A refusal may come before the whole body has left.
            await writer.drain()
        except BaseException:
            writer.close()
            raise
        self._idle.append((time.monotonic(), (reader, writer)))
        return _answer(int(head.split(maxsplit=2)[1]), body, started)

    async def _connection(self) -> Stream:
        while self._idle:
            since, (reader, writer) = self._idle.pop()
            if time.monotonic() - since < _STALE_S and not reader.at_eof():
                return reader, writer
            writer.close()
        return await self.connect()

    async def connect(self) -> Stream:
        """Open one more connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def closed(self, request: bytes, clients: int, more: Callable[[], bool]) -> float:
        """Let each client send its next request when it has its answer; return requests a second.

        `more`: asked before each request.
        """
        sent, started = 0, time.monotonic()

        async def run() -> None:
            nonlocal sent
            while more():
                sent += 1
                await self.send(request)

        await asyncio.gather(*(run() for _ in range(clients)))
        return sent / (time.monotonic() - started)

    async def open(self, request: bytes, rate: float, seconds: float) -> None:
        """Send at an even rate, whatever becomes of the requests before; wait for all answers."""
        started, tasks = time.monotonic(), []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(self.send(request)))
        await asyncio.gather(*tasks)

    @asynccontextmanager
    async def probe(self, request: bytes, every_s: float) -> AsyncIterator[list[Answer]]:
        """Send a request again and again meanwhile; gives the list of its answers."""
        answers: list[Answer] = []

        async def run() -> None:
            while True:
                await self.send(request, answers)
                await asyncio.sleep(every_s)

        task = asyncio.create_task(run())
        try:
            yield answers
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def send_until(self, request: bytes, status: int) -> float:
        """Send a request until it gets a status; return the seconds until then."""
        started = time.monotonic()
        while True:
            if (await self.send(request, [])).status == status:
                return time.monotonic() - started
            await asyncio.sleep(0.01)

    def statuses(self) -> Counter[int]:
        """Count the answers by status."""
        return Counter(answer.status for answer in self.answers)


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Read the body that a head in lower case announces."""
    if b"\r\ntransfer-encoding: chunked" not in head:
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return await reader.readexactly(length)
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def _answer(status: int, body: bytes, started: float) -> Answer:
    ended = time.monotonic()
    return Answer(status, body, ended - started, ended)


def count_down(count: int) -> Callable[[], bool]:
    """Return what says True `count` times."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


def until(seconds: float) -> Callable[[], bool]:
    """Return what says True for some seconds from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def percentile(answers: list[Answer], share: float) -> float:
    """Return the time in seconds within which a share of the answers came; 0 for none."""
    times = sorted(answer.took_s for answer in answers)
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0
