"""`python -m benchmarks.soak [NAME...]`: what the service does under load, against its limits.

Prints each figure with its limit and ends with 1 where one is missed. Without names, everything;
some twenty minutes on two quiet cores. The generator shares the machine with the service, so its
own CPU time is printed as well.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import psutil

from benchmarks.engines import draw_png, family
from benchmarks.load import GET_HEALTH, Load, build_request, count_down, percentile, until
from contract.bundle import DESCRIPTION, find_bundle, write_description
from service.settings import Settings, available_cores
from tests.conftest import Service

PLACES: Final = 64
CLIENTS: Final = 8
_MIB: Final = 1 << 20


class Figure(NamedTuple):
    """A measured value and the range it must lie in."""

    name: str
    value: float
    least: float = -np.inf
    most: float = np.inf

    @property
    def passed(self) -> bool:
        """Whether the value lies in its range."""
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        limit = f"<= {self.most:g}" if self.most < np.inf else f">= {self.least:g}"
        if self.least == -self.most:
            return f"  {self.name:58}{self.value:12.3f}"
        return f"  {self.name:58}{self.value:12.3f}  {limit:12}{'pass' if self.passed else 'MISS'}"


@contextmanager
def serve(**settings: str) -> Iterator[Service]:
    """Run the service with a temporary folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "temporary"
        temporary.mkdir()
        chosen = {"XPRO_MAX_WAITING": str(PLACES), "TMPDIR": str(temporary), **settings}
        with Service(Path(folder) / "log", **chosen) as service:
            yield service


def port_of(service: Service) -> int:
    """Return the port that a service listens on."""
    return int(service.url.rsplit(":", 1)[1])


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
        streams = [await load.connect() for _ in range(idle + slow)]

        async def trickle() -> None:
            for start in range(len(request)):
                for _, writer in streams[idle:]:
                    writer.write(request[start : start + 1] if start else request[:400])
                await asyncio.sleep(1)

        task = asyncio.create_task(trickle())
        async with load.probe(GET_HEALTH, 0.05) as health:
            together = await load.closed(request, CLIENTS, until(seconds))
        task.cancel()
        for _, writer in streams:
            writer.close()
        failed = sum(answer.status != 200 for answer in load.answers)
        return [
            Figure("answers a second alone", alone),
            Figure("answers a second in the crowd / alone", together / alone, least=0.9),
            Figure("requests of others that failed", failed, most=0),
            Figure("p99 of /health, ms", percentile(health, 0.99) * 1000, most=100),
        ]


async def memory(service: Service, request: bytes, count: int) -> list[Figure]:
    """Answer many requests and look at what grows."""
    process = psutil.Process(service.process.pid)
    temporary = Path(process.environ()["TMPDIR"])

    def look() -> tuple[float, int, int, int]:
        each = family(process)
        resident = sum(one.memory_info().rss for one in each) / _MIB
        threads = sum(one.num_threads() for one in each)
        return resident, process.num_fds(), threads, len([*temporary.rglob("*")])

    async with Load(port_of(service)) as load:
        await load.closed(request, CLIENTS, count_down(count // 10))
        looks = [look()]
        for _ in range(20):
            await load.closed(request, CLIENTS, count_down(count // 20))
            looks.append(look())
        requests = np.arange(len(looks)) * count / 20
        slope = np.polyfit(requests, [each[0] for each in looks], 1)[0] * 10_000
        first, last = looks[0], looks[-1]
        return [
            Figure("requests", len(load.answers)),
            Figure("requests that failed", sum(a.status != 200 for a in load.answers), most=0),
            Figure("resident MiB at the end, with workers", last[0]),
            Figure("resident MiB more for 10,000 requests", slope, most=1),
            Figure("open files more", last[1] - first[1], most=0),
            Figure("threads more", last[2] - first[2], most=0),
            Figure("temporary files more", last[3] - first[3], most=0),
        ]


def place_version(models: Path, version: int, *, damaged: bool = False) -> str:
    """Put a copy of version 1 beside it under another number; return its digest."""
    making = models.parent / "making"
    shutil.copytree(models / "1", making)
    description = json.loads((making / DESCRIPTION).read_text())
    digest = write_description(making, {**description, "version": str(version)})
    if damaged:
        with (making / "saved_model.pb").open("r+b") as file:
            file.seek(1000)
            byte = file.read(1)[0]
            file.seek(1000)
            file.write(bytes([byte ^ 1]))
    shutil.copytree(making, models / str(version))
    shutil.rmtree(making)
    return digest


async def reload(service: Service, models: Path, request: bytes, count: int) -> list[Figure]:
    """Bring new versions, every second one damaged, while requests are answered."""
    process = psutil.Process(service.process.pid)
    async with Load(port_of(service)) as load:
        await load.closed(request, CLIENTS, count_down(count // 10))
        digests = {"1": json.loads(load.answers[-1].body)["model"]["digest"]}
        before, version, more = process.memory_info().rss, 1, count_down(count)
        clients = asyncio.create_task(load.closed(request, CLIENTS, more))
        while not clients.done():
            version += 1
            damaged = version % 2 == 1
            digest = await asyncio.to_thread(place_version, models, version, damaged=damaged)
            if not damaged:
                digests[str(version)] = digest
            await asyncio.wait([clients], timeout=15)
        named = [json.loads(a.body)["model"] for a in load.answers if a.status == 200]
        wrong = sum(digests.get(model["version"]) != model["digest"] for model in named)
        return [
            Figure("requests", len(load.answers)),
            Figure("versions that answered", len({model["version"] for model in named}), least=2),
            Figure("requests that failed", len(load.answers) - len(named), most=0),
            Figure("answers that name no one version", wrong, most=0),
            Figure("resident MiB more", (process.memory_info().rss - before) / _MIB, most=200),
        ]


async def faults(service: Service, request: bytes, seconds: float) -> list[Figure]:
    """Kill decoding workers under load, then end the service with requests under way."""
    process = psutil.Process(service.process.pid)
    replaced = []
    async with Load(port_of(service)) as load:
        end = until(seconds)
        clients = asyncio.create_task(load.closed(request, CLIENTS, end))
        while end():
            await asyncio.sleep(1)
            worker = process.children(recursive=True)[-1]
            worker.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            await asyncio.to_thread(worker.wait, 10)
            await load.send_until(GET_HEALTH, 200)
            replaced.append(time.monotonic() - killed)
        await clients
        failed = sum(answer.status != 200 for answer in load.answers)
        load.answers.clear()
        _, stuck = await load.connect()
        stuck.write(request[:1000])
        tasks = [asyncio.create_task(load.send(request)) for _ in range(PLACES // 2)]
        await asyncio.sleep(0.3)
        started = time.monotonic()
        service.terminate()
        await asyncio.gather(*tasks)
        code = await asyncio.to_thread(service.process.wait, 60)
        ended = time.monotonic() - started
        stuck.close()
        return [
            Figure("workers killed", len(replaced)),
            Figure("requests that failed", failed, most=0),
            Figure("longest until a worker was replaced, s", max(replaced), most=1),
            Figure("requests lost at SIGTERM", PLACES // 2 - load.statuses()[200], most=0),
            Figure("end after SIGTERM with a stuck upload, s", ended, most=30),
            Figure("exit code", code, most=0),
        ]


def run_overload(request: bytes) -> list[Figure]:
    """Two minutes of overload."""
    with serve() as service:
        return asyncio.run(overload(service, request, 120))


def run_crowd(request: bytes) -> list[Figure]:
    """1,000 idle clients and 400 slow ones."""
    with serve() as service:
        return asyncio.run(crowd(service, request, 20, 1000, 400))


def run_memory(request: bytes) -> list[Figure]:
    """20,000 requests."""
    with serve() as service:
        return asyncio.run(memory(service, request, 20_000))


def run_reload(request: bytes) -> list[Figure]:
    """10,000 requests while versions come."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        shutil.copytree(find_bundle(Settings().model_dir), models / "1")
        with serve(XPRO_MODEL_DIR=str(models)) as service:
            return asyncio.run(reload(service, models, request, 10_000))


def run_faults(request: bytes) -> list[Figure]:
    """Twenty killed workers and one SIGTERM."""
    with serve() as service:
        return asyncio.run(faults(service, request, 20))


RUNS: Final = {
    "overload": run_overload,
    "crowd": run_crowd,
    "memory": run_memory,
    "reload": run_reload,
    "faults": run_faults,
}


def main() -> int:
    """Run the named parts; return 1 where a figure misses its limit."""
    names = sys.argv[1:] or list(RUNS)
    if unknown := set(names) - set(RUNS):
        sys.exit(f"error: no part {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}.")
    request = build_request(draw_png(1024))
    print(f"{available_cores()} cores, load {os.getloadavg()[0]:.1f}, {PLACES} places")
    missed = 0
    for name in names:
        print(f"{name}: {RUNS[name].__doc__}", flush=True)
        for figure in RUNS[name](request):
            print(figure, flush=True)
            missed += not figure.passed
    print(f"{missed} missed" if missed else "all within their limits")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
