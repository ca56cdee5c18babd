"""One decoding worker as the API process sees it: a process, a socket and memory for its files."""

import asyncio
import contextlib
import json
import math
import multiprocessing
import os
import select
import signal
import socket
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from typing import Final

import numpy as np

from service.decode_errors import NoDecoder
from service.decode_worker import ANSWER_HEAD, TASK_HEAD, TIME_IS_UP, Answer, serve

_MAX_REFUSALS: Final = 1000
"""imagecodecs 2026.3.6 gives one reference to None away with each damaged PNG, and CPython before
3.12 aborts at the last of them; a worker begins with some 37,000."""
_PIECE: Final = 4 << 20
"""Bytes of a file written before others get the event loop, and kept for the file after it."""
_CONTEXT: Final = multiprocessing.get_context("forkserver")


def preload() -> None:
    """Have workers forked from a process that has imported what they need."""
    _CONTEXT.set_forkserver_preload(["service.decode_worker"])


class Worker:
    """One worker process, asked one file at a time; `kill` and `reap` end it.

    Raises OSError where no process is to be had. `timeout_s`, `memory_mib`: limits of a file, the
    first in processor time.
    """

    def __init__(self, timeout_s: float, memory_mib: int) -> None:
        self._refusals = 0
        self._opened = contextlib.ExitStack()
        try:
            self._start(timeout_s, memory_mib)
        except (OSError, EOFError, RuntimeError) as error:
            self._opened.close()
            if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                _forget_forkserver()
            # At a limit of the machine; what multiprocessing raises depends on where it met it.
            raise OSError("no process could be started") from error

    def _start(self, timeout_s: float, memory_mib: int) -> None:
        # Through the socket a file would go in pieces of 200 kB, and both sides wait for each.
        memory = os.fdopen(os.memfd_create("file"), "wb", 0)
        self._memory = self._opened.enter_context(memory)
        self._socket, theirs = socket.socketpair()
        self._opened.enter_context(self._socket)
        self._socket.setblocking(False)
        # Workers end when this is closed; what multiprocessing sends them at exit they ignore.
        util.Finalize(self, self._socket.close, exitpriority=0)
        with theirs:
            self._process = _CONTEXT.Process(
                target=serve, args=(theirs, timeout_s, memory_mib), daemon=True
            )
            with _block_sigterm():
                self._process.start()
        self._end = select.poll()
        self._end.register(self._process.sentinel, select.POLLIN)
        # Opened anew: to read only, and at a place of its own.
        with Path(f"/proc/self/fd/{memory.fileno()}").open("rb", 0) as readable:
            socket.send_fds(self._socket, [b"m"], [readable.fileno()])

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    async def ask(self, data: bytes | bytearray, size: int, display_side: int) -> Answer:
        """Send one file and return the worker's answer and arrays.

        Raises EOFError or OSError where the worker dies, NoDecoder where the file has no room.
        """
        await self._write(data)
        head = TASK_HEAD.pack(len(data), size, display_side)
        await asyncio.get_running_loop().sock_sendall(self._socket, head)
        (length,) = ANSWER_HEAD.unpack(await self._receive(ANSWER_HEAD.size))
        answer = json.loads(await self._receive(length))
        self._refusals += "code" in answer
        if len(data) > _PIECE:
            self._memory.truncate(_PIECE)
        arrays = [
            np.frombuffer(await self._receive(math.prod(shape)), np.uint8).reshape(shape)
            for shape in answer.get("shapes", ())
        ]
        return answer, arrays

    async def _write(self, data: bytes | bytearray) -> None:
        self._memory.seek(0)
        for start in range(0, len(data), _PIECE):
            if start:
                await asyncio.sleep(0)
            piece = memoryview(data)[start : start + _PIECE]
            try:
                written = self._memory.write(piece)
            except OSError:
                written = 0
            if written != len(piece):  # a limit on the size of files (ulimit -f) holds for it too
                raise NoDecoder

    async def _receive(self, length: int) -> bytearray:
        loop, buffer, received = asyncio.get_running_loop(), bytearray(length), 0
        while received < length:
            count = await loop.sock_recv_into(self._socket, memoryview(buffer)[received:])
            if not count:
                raise EOFError
            received += count
        return buffer

    def is_alive(self) -> bool:
        """Return whether the process runs; not for several threads at once."""
        return not self._end.poll(0)  # a tenth of what multiprocessing takes to find out

    def is_worn(self) -> bool:
        """Return whether it has refused so many files that another should take its place."""
        return self._refusals >= _MAX_REFUSALS

    def killed_from_outside(self) -> bool:
        """Whether a dying process got SIGKILL, which no decoder sends to itself."""
        return self._ended_by(signal.SIGKILL)

    def ran_out_of_time(self) -> bool:
        """Whether a dying process had used all the processor time that a file gets."""
        return self._ended_by(TIME_IS_UP)

    def _ended_by(self, number: signal.Signals) -> bool:
        self._process.join(1)
        return self._process.exitcode == -number

    def kill(self) -> None:
        """Begin to end the process, whatever it does."""
        self._opened.close()
        self._process.kill()

    def reap(self, timeout_s: float | None) -> bool:
        """Wait for the killed process; return whether it has ended."""
        self._process.join(timeout_s)
        if self._process.is_alive():
            return False
        self._process.close()
        return True


@contextlib.contextmanager
def _block_sigterm() -> Iterator[None]:
    """Have what is started meanwhile never get SIGTERM; this process gets it afterwards.

    Who stops a service may send it to all of its processes, as systemd does; the workers have to
    finish what is under way.
    """
    resource_tracker.ensure_running()  # which would undo it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forget_forkserver() -> None:
    """End the process that workers are forked from, so that the next start brings a new one.

    It listens on a socket in the temporary folder, which cleaners of that folder remove.
    """
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
