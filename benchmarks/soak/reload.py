"""New versions of the model, whole and damaged, while requests are answered."""

import asyncio
import json
import shutil
from pathlib import Path

import psutil

from benchmarks.load import Load, count_down
from benchmarks.soak.figures import CLIENTS, MIB, Figure, port_of
from contract.bundle import seal_bundle
from contract.seal import DESCRIPTION
from tests.conftest import Service


def place_version(models: Path, version: int, *, damaged: bool = False) -> str:
    """Put a copy of version 1 beside it under another number; return its digest."""
    making = models.parent / "making"
    shutil.copytree(models / "1", making)
    description = json.loads((making / DESCRIPTION).read_text())
    digest = seal_bundle(making, {**description, "version": str(version)})
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
            Figure("resident MiB more", (process.memory_info().rss - before) / MIB, most=200),
        ]
