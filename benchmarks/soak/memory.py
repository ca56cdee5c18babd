"""Many requests: what grows with their number."""

from pathlib import Path

import numpy as np
import psutil

from benchmarks.engines import family
from benchmarks.load import Load, count_down
from benchmarks.soak.figures import CLIENTS, MIB, Figure, port_of
from tests.conftest import Service


async def memory(service: Service, request: bytes, count: int) -> list[Figure]:
    """Answer many requests and look at what grows."""
    process = psutil.Process(service.process.pid)
    temporary = Path(process.environ()["TMPDIR"])

    def look() -> tuple[float, int, int, int]:
        each = family(process)
        resident = sum(one.memory_info().rss for one in each) / MIB
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
