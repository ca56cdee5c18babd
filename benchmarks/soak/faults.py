"""Killed workers and a SIGTERM, with requests under way."""

import asyncio
import signal
import time

import psutil

from benchmarks.load import GET_HEALTH, Load, until
from benchmarks.soak.figures import CLIENTS, PLACES, Figure, port_of
from tests.conftest import Service


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
