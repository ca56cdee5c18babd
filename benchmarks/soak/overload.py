"""More requests than can be answered, and clients that only hold on to a connection."""

import asyncio
import time

import numpy as np

from benchmarks.load import GET_HEALTH, Answer, Load, percentile, until
from benchmarks.soak.figures import CLIENTS, PLACES, Figure, port_of
from service.settings import available_cores
from tests.conftest import Service


async def overload(service: Service, request: bytes, seconds: float) -> list[Figure]:
    """Offer twice what the service can do, and look at what it answers and how soon.

    Capacity is measured before and after, since the machine's speed drifts, and scaled by the
    processor time that the generator leaves: it needs more for twice the requests.
    """
    async with Load(port_of(service)) as load, load.probe(GET_HEALTH, 0.05) as health:
        await load.closed(request, CLIENTS, until(seconds / 10))
        before, used_before = await _capacity(load, request, seconds / 6)
        load.answers.clear()
        health.clear()
        started, cpu = time.monotonic(), time.process_time()
        await load.open(request, 2 * before, seconds)
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
        answers, healths = [*load.answers], [*health]
        recovered = await load.send_until(request, 200)
        after, used_after = await _capacity(load, request, seconds / 6)
    used, used_alone = cpu / wall, (used_before + used_after) / 2
    cores = available_cores()
    capacity = (before + after) / 2 * (cores - used) / (cores - used_alone)
    answered = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    rate = len(answered) / wall
    return [
        Figure("capacity, answers a second before", before),
        Figure("capacity, answers a second after", after),
        Figure("offered for each that it can answer", len(answers) / wall / before),
        Figure("CPU of the generator, share of one core", used),
        Figure("the same at capacity", used_alone),
        Figure("answers a second under overload", rate),
        Figure("the same / mean of before and after, as measured", rate / ((before + after) / 2)),
        Figure("answers under overload / capacity", rate / capacity, least=0.95),
        Figure(
            "p99 of answers / (places / answers a second)",
            percentile(answered, 0.99) * rate / PLACES,
            most=1.2,
        ),
        Figure("p99 of answers given during one's wait / places", _overtaken(answered), most=1.2),
        Figure("p99 of refusals, ms", percentile(refused, 0.99) * 1000, most=50),
        Figure("requests refused", len(refused), least=1),
        Figure("neither 200 nor 503", len(answers) - len(answered) - len(refused), most=0),
        Figure("p99 of /health, ms", percentile(healths, 0.99) * 1000, most=100),
        Figure("/health other than 200", sum(each.status != 200 for each in healths), most=0),
        Figure("answers again after, s", recovered, most=5),
    ]


def _overtaken(answered: list[Answer]) -> float:
    """Return the 99th percentile of the answers given to others during one's wait, over the places.

    A line that is first come, first served explains 1, however fast the machine is meanwhile.
    """
    ends = np.array([answer.ended_s for answer in answered])  # in the order of their ends
    begins = ends - [answer.took_s for answer in answered]
    others = np.arange(len(ends)) - np.searchsorted(ends, begins)
    return float(np.percentile(others, 99)) / PLACES


async def _capacity(load: Load, request: bytes, seconds: float) -> tuple[float, float]:
    """Return answers a second, and the share of one core that asking for them takes."""
    started, cpu = time.monotonic(), time.process_time()
    rate = await load.closed(request, CLIENTS, until(seconds))
    return rate, (time.process_time() - cpu) / (time.monotonic() - started)


async def crowd(
    service: Service, request: bytes, seconds: float, idle: int, slow: int
) -> list[Figure]:
    """Hold idle connections and uploads that trickle, and look at what others get meanwhile."""
    async with Load(port_of(service)) as load:
        await load.closed(request, CLIENTS, until(seconds / 3))
        alone = await load.closed(request, CLIENTS, until(seconds))
        others = [asyncio.create_task(linger(load, b"", 0)) for _ in range(idle)]
        others += [asyncio.create_task(linger(load, request, 400)) for _ in range(slow)]
        async with load.probe(GET_HEALTH, 0.05) as health:
            together = await load.closed(request, CLIENTS, until(seconds))
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        failed = sum(answer.status != 200 for answer in load.answers)
        return [
            Figure("answers a second alone", alone),
            Figure("answers a second in the crowd / alone", together / alone, least=0.9),
            Figure("requests of others that failed", failed, most=0),
            Figure("p99 of /health, ms", percentile(health, 0.99) * 1000, most=100),
        ]


async def linger(load: Load, request: bytes, begun: int) -> None:
    """Connect, send `begun` bytes and then one each second; connect again when shut out."""
    while True:
        reader, writer = await load.connect()
        try:
            writer.write(request[:begun])
            for start in range(begun, len(request)):
                if reader.at_eof():
                    break
                writer.write(request[start : start + 1])
                await asyncio.sleep(1)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()
