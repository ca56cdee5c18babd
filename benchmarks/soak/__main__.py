"""`python -m benchmarks.soak [NAME...]`: what the service does under load, against its limits.

Prints each figure with its limit and ends with 1 where one is missed. Without names, everything;
some twenty minutes on two quiet cores. The generator shares the machine with the service, so its
own CPU time is printed as well.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.engines import draw_png
from benchmarks.load import build_request
from benchmarks.soak.faults import faults
from benchmarks.soak.figures import PLACES, Figure, serve
from benchmarks.soak.memory import memory
from benchmarks.soak.overload import crowd, overload
from benchmarks.soak.reload import reload
from contract.bundle import find_bundle, seal_bundle
from contract.seal import read_description
from service.cores import available_cores
from service.settings import Settings


def run_overload(request: bytes) -> list[Figure]:
    """Two minutes of overload, in four stretches."""
    with serve() as service:
        return asyncio.run(overload(service, request, 30, 4))


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
        first = shutil.copytree(find_bundle(Settings().model_dir), models / "1")
        seal_bundle(first, {**read_description(first), "version": "1"})
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
