"""The threads that infer: as many at once as there are streams, and none is lost to an error."""

import asyncio
import threading
import weakref

import numpy as np
import pytest

from service.engine import Outputs
from service.scheduling import InferencePool
from tests.conftest import wait_until

IMAGE = np.zeros((8, 8, 1), np.uint8)


class SlowEngine:
    """Answers when it is told to and notes how many images it had at once; a white one fails."""

    name, precision = "slow", "float32"

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = self.inside = self.most = 0
        self._lock = threading.Lock()

    def infer(self, image):
        with self._lock:
            self.begun += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.go_on.wait(10)
        with self._lock:
            self.inside -= 1
        if image.any():
            raise ValueError("white")
        return Outputs(np.zeros(14, np.float32), np.zeros((1, 1, 14), np.float32))


async def begun(engine: SlowEngine, count: int) -> None:
    await asyncio.to_thread(wait_until, lambda: engine.begun == count)


@pytest.fixture
def pool():
    pool = InferencePool(2)
    yield pool
    pool.close()


def test_as_many_images_as_streams_are_answered_at_once(pool):
    async def ask():
        engine = SlowEngine()
        answers = [pool.infer(engine, IMAGE) for _ in range(6)]
        await begun(engine, 2)
        engine.go_on.set()
        assert all(len(each.probabilities) == 14 for each in await asyncio.gather(*answers))
        assert engine.most == 2

    asyncio.run(ask())


def test_an_error_reaches_who_asked_and_the_thread_goes_on(pool):
    async def ask():
        engine = SlowEngine()
        engine.go_on.set()
        for _ in range(4):
            with pytest.raises(ValueError, match="white"):
                await pool.infer(engine, IMAGE + 1)
        assert len((await pool.infer(engine, IMAGE)).probabilities) == 14

    asyncio.run(ask())


def test_what_is_cancelled_while_it_waits_is_never_worked_on(pool):
    async def ask():
        engine = SlowEngine()
        running = [pool.infer(engine, IMAGE) for _ in range(2)]
        waiting = [pool.infer(engine, IMAGE) for _ in range(2)]
        await begun(engine, 2)
        for each in (running[0], waiting[0]):
            each.cancel()
        await asyncio.sleep(0)  # asyncio tells the pool of it on its next turn
        engine.go_on.set()
        await asyncio.gather(running[1], waiting[1])
        assert engine.begun == 3

    asyncio.run(ask())


def test_an_engine_that_is_replaced_is_let_go(pool):
    async def ask():
        engine = SlowEngine()
        engine.go_on.set()
        await asyncio.gather(*(pool.infer(engine, IMAGE) for _ in range(4)))
        return weakref.ref(engine)

    engine = asyncio.run(ask())
    wait_until(lambda: engine() is None)


def test_closing_waits_for_the_images_under_way():
    async def ask():
        pool, engine = InferencePool(1), SlowEngine()
        answers = [pool.infer(engine, IMAGE) for _ in range(2)]
        threading.Timer(0.2, engine.go_on.set).start()
        await asyncio.to_thread(pool.close)
        assert engine.begun == 2
        await asyncio.gather(*answers)

    asyncio.run(ask())
