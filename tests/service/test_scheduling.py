"""The waiting line: bounded, honest, never leaking."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest

from service.scheduling import LineFull, WaitingLine


def test_a_full_line_refuses_at_once_with_a_time_to_come_back():
    async def scenario() -> None:
        line = WaitingLine(places=2, lanes=1)
        async with line.place(), line.place():
            with pytest.raises(LineFull) as caught:
                async with line.place():
                    pass
            assert caught.value.retry_after_s >= 1
        async with line.place():
            pass

    asyncio.run(scenario())


def test_a_place_is_given_back_after_an_error_and_after_a_cancellation():
    async def scenario() -> None:
        line = WaitingLine(places=1, lanes=1)
        with pytest.raises(KeyError):
            async with line.place():
                raise KeyError
        holder = asyncio.create_task(hold(line))
        await asyncio.sleep(0)
        holder.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder
        async with line.place():
            pass

    async def hold(line: WaitingLine) -> None:
        async with line.place():
            await asyncio.sleep(60)

    asyncio.run(scenario())


def test_the_time_to_come_back_grows_with_the_measured_service_time():
    async def scenario() -> int:
        line = WaitingLine(places=40, lanes=1)
        line._service_s = 0.5
        async with AsyncExitStack() as stack:
            for _ in range(40):
                await stack.enter_async_context(line.place())
            with pytest.raises(LineFull) as caught:
                async with line.place():
                    pass
        return caught.value.retry_after_s

    assert asyncio.run(scenario()) == 20


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
