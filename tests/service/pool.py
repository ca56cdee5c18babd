"""A pool of decoding workers, asked and looked into."""

import asyncio

from service.decoding import Decoder

SIZE = 64


def decode(pool: Decoder, data: bytes):
    return asyncio.run(pool.decode(data, SIZE))


def worker_pid(pool: Decoder) -> int:
    (worker,) = workers(pool)
    return worker.pid


def workers(pool: Decoder):
    return [*pool._idle, *pool._busy]
