"""The waiting line: bounded, honest, never leaking, and no work for those who have gone."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import numpy as np
import psutil
import pytest

from service.scheduling import LineFull, WaitingLine
from tests.conftest import Service, open_connection, wait_until
from tests.service.conftest import encode, predict_request, read_metrics


class ClientLeft(Exception):
    """What the watcher of a client raises."""


def make_line(places: int = 10, lanes: int = 1, timeout_s: float = 60.0) -> WaitingLine:
    return WaitingLine(places, lanes, timeout_s, waited=lambda _: None)


async def stay():
    await asyncio.Event().wait()


async def leave_when(event: asyncio.Event):
    await event.wait()
    raise ClientLeft


class Turns:
    """Tasks in a line; each notes its name when its turn comes and stays until it is let go."""

    def __init__(self, line: WaitingLine) -> None:
        self._line = line
        self.order: list[str] = []
        self._end: dict[str, asyncio.Event] = {}

    async def enter(self, name: str, leave: Callable = stay) -> asyncio.Task:
        self._end[name] = asyncio.Event()
        task = asyncio.create_task(self._run(name, leave))
        await settle()
        return task

    async def _run(self, name: str, leave: Callable) -> None:
        async with self._line.turn(leave):
            self.order.append(name)
            await self._end[name].wait()

    async def finish(self, name: str) -> None:
        self._end[name].set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_full_line_refuses_at_once_with_a_time_to_come_back():
    async def scenario() -> None:
        line = make_line(places=2)
        turns = Turns(line)
        await turns.enter("a")
        await turns.enter("b")
        with pytest.raises(LineFull) as caught:
            line.check()
        assert caught.value.retry_after_s >= 1
        refused = await turns.enter("c")
        with pytest.raises(LineFull):
            await refused
        await turns.finish("a")
        line.check()
        await turns.finish("b")

    asyncio.run(scenario())


def test_who_comes_first_is_served_first():
    async def scenario() -> None:
        turns = Turns(make_line(lanes=2))
        tasks = [await turns.enter(name) for name in "abcde"]
        assert turns.order == ["a", "b"]
        for name in "bacde":
            await turns.finish(name)
        assert turns.order == ["a", "b", "c", "d", "e"]
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_who_leaves_while_waiting_is_never_served_and_disturbs_nobody():
    async def scenario() -> None:
        line = make_line()
        turns, gone = Turns(line), asyncio.Event()
        first = await turns.enter("a")
        leaver = await turns.enter("b", partial(leave_when, gone))
        last = await turns.enter("c")
        gone.set()
        with pytest.raises(ClientLeft):
            await leaver
        assert line.inside == 2
        for name in "ac":
            await turns.finish(name)
        await asyncio.gather(first, last)
        assert turns.order == ["a", "c"]
        assert line.inside == 0

    asyncio.run(scenario())


def test_who_leaves_in_the_moment_of_its_turn_gives_the_lane_on():
    async def scenario() -> None:
        turns, gone = Turns(make_line()), asyncio.Event()
        await turns.enter("a")
        leaver = await turns.enter("b", partial(leave_when, gone))
        last = await turns.enter("c")
        gone.set()
        await turns.finish("a")
        with pytest.raises(ClientLeft):
            await leaver
        await turns.finish("c")
        await last
        assert turns.order == ["a", "c"]

    asyncio.run(scenario())


def test_a_cancelled_request_gives_its_place_and_its_lane_on():
    async def scenario() -> None:
        line = make_line()
        turns = Turns(line)
        working = await turns.enter("a")
        waiting = await turns.enter("b")
        last = await turns.enter("c")
        for task in (waiting, working):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await turns.finish("c")
        await last
        assert turns.order == ["a", "c"]
        assert line.inside == 0

    asyncio.run(scenario())


def test_an_error_in_a_turn_gives_the_lane_back():
    async def scenario() -> None:
        line = make_line(places=1)
        for _ in range(3):
            with pytest.raises(KeyError):
                async with line.turn(stay):
                    raise KeyError

    asyncio.run(scenario())


def test_who_waits_too_long_is_told_to_come_back_and_is_never_served():
    async def scenario() -> None:
        turns = Turns(make_line(timeout_s=0.05))
        first = await turns.enter("a")
        late = await turns.enter("b")
        with pytest.raises(LineFull):
            await late
        await turns.finish("a")
        await first
        assert turns.order == ["a"]

    asyncio.run(scenario())


def test_the_time_to_come_back_is_what_the_line_needs_at_the_measured_service_time():
    @asynccontextmanager
    async def full_line(places: int, lanes: int):
        turns = Turns(line := make_line(places, lanes))
        tasks = [await turns.enter(str(number)) for number in range(places)]
        yield line
        for task in tasks:
            task.cancel()

    async def scenario(service_s: float, places: int, lanes: int) -> int:
        async with full_line(places, lanes) as line:
            line.service_s = service_s
            with pytest.raises(LineFull) as caught:
                line.check()
            return caught.value.retry_after_s

    assert asyncio.run(scenario(0.5, places=40, lanes=1)) == 20
    assert asyncio.run(scenario(0.5, places=40, lanes=4)) == 5
    assert asyncio.run(scenario(0.01, places=4, lanes=2)) == 1
    assert asyncio.run(scenario(0.3, places=4, lanes=1)) == 2


def test_the_service_time_is_measured():
    async def scenario() -> None:
        line = make_line()
        before = line.service_s
        async with line.turn(stay):
            await asyncio.sleep(0.3)
        assert before < line.service_s < 0.3

    asyncio.run(scenario())


def test_the_service_time_falls_where_requests_take_less():
    async def scenario() -> None:
        line = make_line()
        before = line.service_s
        for _ in range(20):
            async with line.turn(stay):
                pass
        assert line.service_s < 0.5 * before

    asyncio.run(scenario())


def test_a_wait_is_told_and_is_no_part_of_the_service_time():
    async def scenario() -> None:
        waits: list[float] = []
        turns = Turns(line := WaitingLine(10, 1, 60.0, waits.append))
        tasks = [await turns.enter(name) for name in "ab"]
        await asyncio.sleep(0.3)
        await turns.finish("a")
        before = line.service_s
        await turns.finish("b")
        await asyncio.gather(*tasks)
        assert waits[0] < 0.1
        assert waits[1] >= 0.3
        assert line.service_s < before

    asyncio.run(scenario())


def test_nobody_watches_a_client_any_more_when_its_turn_has_come():
    """The watcher takes what the connection brings, and would take it for ever."""

    async def scenario() -> None:
        turns = Turns(make_line())
        tasks = [await turns.enter(name) for name in "ab"]
        await turns.finish("a")
        assert turns.order == ["a", "b"]
        assert asyncio.all_tasks() == {asyncio.current_task(), tasks[1]}
        await turns.finish("b")

    asyncio.run(scenario())


def test_a_full_service_answers_503_with_retry_after_and_health_stays_200(start_service, png):
    with start_service(XPRO_MAX_WAITING="2", XPRO_STREAMS="1") as service:
        with ThreadPoolExecutor(24) as clients:
            answers = list(clients.map(lambda _: service.predict(png), range(72)))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert {answer.json()["code"] for answer in refused} == {"overloaded"}
        assert service.client.get("/health").status_code == 200
        assert service.predict(png).status_code == 200


@contextmanager
def lanes_held(service: Service, slow_png: bytes) -> Iterator[None]:
    """Hold both lanes of one stream with slow files, which are answered in the end."""
    with open_connection(service.url) as first, open_connection(service.url) as second:
        for connection in (first, second):
            connection.sendall(predict_request(slow_png))
        wait_until(lambda: read_metrics(service)["xpro_line_requests"] == 2)
        yield
        for connection in (first, second):
            assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_clients_that_hang_up_while_waiting_are_not_worked_on(start_service, large_png, png):
    """Slow files hold the lanes; of those behind them, all but one hang up."""
    with start_service(XPRO_STREAMS="1", XPRO_DECODE_TIMEOUT_S="60") as service:
        with lanes_held(service, large_png), ThreadPoolExecutor(1) as stayer:
            leavers = [open_connection(service.url) for _ in range(20)]
            for leaver in leavers:
                leaver.sendall(predict_request(png))
            answer = stayer.submit(service.predict, png)
            wait_until(lambda: read_metrics(service)["xpro_line_requests"] == 23)
            for leaver in leavers:
                leaver.close()
            assert answer.result().status_code == 200
        metrics = read_metrics(service)
        assert metrics["xpro_decode_seconds_count"] == metrics["xpro_inference_seconds_count"] == 3
        assert metrics['xpro_requests_total{code="client_gone",route="/predict"}'] == 20


@pytest.mark.parametrize("path", ["/predict", "/radiograph", "/explain?finding=Mass"])
def test_a_client_that_hangs_up_while_its_file_is_decoded_gets_no_more_work(start_service, path):
    """The worker stands still meanwhile; the body is as large as those that come in one piece."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    with start_service(XPRO_STREAMS="1", XPRO_DECODE_TIMEOUT_S="60") as service:
        workers = psutil.Process(service.process.pid).children(recursive=True)
        for worker in workers:
            worker.suspend()
        with open_connection(service.url) as connection:
            connection.sendall(predict_request(encode(noise), path=path))
            wait_until(lambda: read_metrics(service)["xpro_line_requests"] == 1)
        time.sleep(0.5)
        for worker in workers:
            worker.resume()
        gone = f'xpro_requests_total{{code="client_gone",route="{path.partition("?")[0]}"}}'
        wait_until(lambda: gone in read_metrics(service), seconds=15)
        assert read_metrics(service)["xpro_inference_seconds_count"] == 0


def test_a_pipelined_request_behind_a_waiting_one_is_answered_too(start_service, large_png, png):
    """Watching for the end of a connection must not eat what it brings."""
    with (
        start_service(XPRO_STREAMS="1", XPRO_DECODE_TIMEOUT_S="60") as service,
        lanes_held(service, large_png),
        open_connection(service.url) as two,
    ):
        two.sendall(predict_request(png) + predict_request(png, "Connection: close\r\n"))
        assert two.makefile("rb").read().count(b"HTTP/1.1 200 OK") == 2


def test_who_stands_in_line_too_long_gets_503_before_any_work(start_service, large_png, png):
    with start_service(
        XPRO_STREAMS="1", XPRO_WAIT_TIMEOUT_S="0.01", XPRO_DECODE_TIMEOUT_S="60"
    ) as service:
        with lanes_held(service, large_png):
            late = service.predict(png)
            assert (late.status_code, late.json()["code"]) == (503, "overloaded")
            assert int(late.headers["retry-after"]) >= 1
        assert read_metrics(service)["xpro_decode_seconds_count"] == 2
