"""More requests than can be answered, and clients that only hold on to a connection."""

import asyncio
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import GET_HEALTH, Answer, Load, percentile, until
from benchmarks.soak.figures import CLIENTS, PLACES, Figure, port_of
from service.cores import available_cores
from tests.conftest import Service

Counts = NDArray[np.intp]


class Stretch(NamedTuple):
    """Some seconds of overload, and what the service could do right before and after them."""

    answers: list[Answer]
    wall_s: float
    capacity: float
    """Answers a second without overload, see `overload`."""

    @property
    def answered(self) -> list[Answer]:
        """The answers with a result, in the order of their ends."""
        return [answer for answer in self.answers if answer.status == 200]

    @property
    def rate(self) -> float:
        """Results a second."""
        return len(self.answered) / self.wall_s


async def overload(
    service: Service, request: bytes, seconds: float, stretches: int
) -> list[Figure]:
    """Offer twice what the service can do, and look at what it answers and how soon.

    In `stretches` of `seconds`, each held against the capacity measured before and after it, since
    the machine's speed drifts by a tenth over minutes. That is scaled by the processor time that
    the generator leaves: it needs more for twice the requests.
    """
    done: list[Stretch] = []
    healths: list[Answer] = []
    async with Load(port_of(service)) as load, load.probe(GET_HEALTH, 0.05) as health:
        await load.closed(request, CLIENTS, until(seconds / 3))
        before, used_before = await _capacity(load, request, seconds / 3)
        for _ in range(stretches):
            load.answers.clear()
            health.clear()
            started, cpu = time.monotonic(), time.process_time()
            await load.open(request, 2 * before, seconds)
            wall_s, cpu = time.monotonic() - started, time.process_time() - cpu
            answers = [*load.answers]
            healths += health
            recovered = await load.send_until(request, 200)
            after, used_after = await _capacity(load, request, seconds / 3)
            left = available_cores() - cpu / wall_s
            left_alone = available_cores() - (used_before + used_after) / 2
            done.append(Stretch(answers, wall_s, (before + after) / 2 * left / left_alone))
            before, used_before = after, used_after
    return _judge(done, healths, recovered)


def _judge(stretches: list[Stretch], healths: list[Answer], recovered: float) -> list[Figure]:
    answers = [answer for stretch in stretches for answer in stretch.answers]
    refused = [answer for answer in answers if answer.status == 503]
    answered = sum(len(stretch.answered) for stretch in stretches)
    possible = sum(stretch.capacity * stretch.wall_s for stretch in stretches)
    waits = [each.took_s * stretch.rate for stretch in stretches for each in stretch.answered]
    overtaken = np.concatenate([_given_meanwhile(stretch.answered) for stretch in stretches])
    wall_s = sum(stretch.wall_s for stretch in stretches)
    return [
        Figure("capacity, answers a second", possible / wall_s),
        Figure("offered for each that it can answer", len(answers) / possible),
        Figure("answers under overload / capacity", answered / possible, least=0.95),
        Figure("the least of a stretch", min(each.rate / each.capacity for each in stretches)),
        Figure(
            "p99 of answers / (places / answers a second)",
            float(np.percentile(waits, 99)) / PLACES,
            most=1.2,
        ),
        Figure(
            "p99 of answers given during one's wait / places",
            float(np.percentile(overtaken, 99)) / PLACES,
            most=1.2,
        ),
        Figure("p99 of refusals, ms", percentile(refused, 0.99) * 1000, most=50),
        Figure("requests refused", len(refused), least=1),
        Figure("neither 200 nor 503", len(answers) - answered - len(refused), most=0),
        Figure("p99 of /health, ms", percentile(healths, 0.99) * 1000, most=100),
        Figure("/health other than 200", sum(each.status != 200 for each in healths), most=0),
        Figure("answers again after, s", recovered, most=5),
    ]


def _given_meanwhile(answered: list[Answer]) -> Counts:
    """Return for each answer how many others were given during its wait.

    A line that is first come, first served has as many as it has places, however fast the machine
    is meanwhile.
    """
    ends = np.array([answer.ended_s for answer in answered])
    begins = ends - [answer.took_s for answer in answered]
    return np.arange(len(ends)) - np.searchsorted(ends, begins)


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
