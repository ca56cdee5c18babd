"""More requests than can be answered, and clients that only hold on to a connection."""

import asyncio
import time

from benchmarks.load import GET_HEALTH, Load, percentile, until
from benchmarks.soak.figures import CLIENTS, PLACES, Figure, port_of
from tests.conftest import Service


async def overload(service: Service, request: bytes, seconds: float) -> list[Figure]:
    """Offer twice what the service can do, and look at what it answers and how soon."""
    async with Load(port_of(service)) as load:
        await load.closed(request, CLIENTS, until(seconds / 10))
        capacity = await load.closed(request, CLIENTS, until(seconds / 3))
        load.answers.clear()
        started, cpu = time.monotonic(), time.process_time()
        async with load.probe(GET_HEALTH, 0.05) as health:
            await load.open(request, 2 * capacity, seconds)
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
        recovered = await load.send_until(request, 200)
        answered = [answer for answer in load.answers if answer.status == 200]
        refused = [answer for answer in load.answers if answer.status == 503]
        return [
            Figure("capacity, answers a second", capacity),
            Figure("offered for each that it can answer", len(load.answers) / wall / capacity),
            Figure("CPU of the generator, share of one core", cpu / wall),
            Figure(
                "answers a second under overload / capacity",
                len(answered) / wall / capacity,
                least=0.95,
            ),
            Figure(
                "p99 of answers / (places / capacity)",
                percentile(answered, 0.99) * capacity / PLACES,
                most=1.2,
            ),
            Figure("p99 of refusals, ms", percentile(refused, 0.99) * 1000, most=50),
            Figure("requests refused", len(refused), least=1),
            Figure("neither 200 nor 503", len(load.answers) - len(answered) - len(refused), most=0),
            Figure("p99 of /health, ms", percentile(health, 0.99) * 1000, most=100),
            Figure("/health other than 200", sum(each.status != 200 for each in health), most=0),
            Figure("answers again after, s", recovered, most=5),
        ]


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
