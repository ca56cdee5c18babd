"""`python -m benchmarks.engines`: both engines serve a DenseNet121 at 224, side by side.

OpenVINO in INT8 and in float32, TensorFlow in float32; ratios are to the last. Rounds alternate.
CPU time counts the API process and its workers; it is steady where wall time is not.
"""

import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx
import imagecodecs
import numpy as np
import psutil
from PIL import Image

from tests.conftest import Service
from training.phantom import draw_phantom

ROOT: Final = Path(__file__).parent.parent
BUNDLE: Final = ROOT / "build" / "densenet121-random-int8"
SERVED: Final = {
    "int8": {"XPRO_ENGINE": "openvino", "XPRO_PRECISION": "int8"},
    "openvino": {"XPRO_ENGINE": "openvino", "XPRO_PRECISION": "float32"},
    "tensorflow": {"XPRO_ENGINE": "tensorflow"},
}
ROUNDS: Final = 3
REQUESTS: Final = 100
CLIENTS: Final = (1, 16)


def main() -> None:
    """Measure and print one row for each engine and number of clients."""
    make_bundle()
    data = draw_png(1024)
    print(
        f"DenseNet121, 224 x 224, random weights; a {len(data) // 1000} kB 1024 x 1024 PNG; ",
        end="",
    )
    print(f"{os.cpu_count()} cores; medians of {ROUNDS} rounds of {REQUESTS} requests")
    rounds = [(engine, measure(engine, data)) for _ in range(ROUNDS) for engine in SERVED]
    medians = take_medians(rounds)
    print(f"{'':34}" + "".join(f"{engine:>12}" for engine in SERVED) + f"{'ratios':>16}")
    for name in medians["int8"]:
        *ours, theirs = (medians[engine][name] for engine in SERVED)
        figures = "".join(f"{figure:12.1f}" for figure in (*ours, theirs))
        print(f"{name:34}{figures}" + "".join(f"{theirs / figure:8.2f}" for figure in ours))


def make_bundle() -> None:
    """Write the bundle with random weights where it is not there yet."""
    if not BUNDLE.is_dir():
        subprocess.run([sys.executable, "-m", "benchmarks.random_bundle", str(BUNDLE)], check=True)


def take_medians(rounds: list[tuple[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return what was served -> figure -> median over its rounds, in the order of the first."""
    return {
        served: {
            name: statistics.median(figures[name] for each, figures in rounds if each == served)
            for name in names
        }
        for served, names in dict(rounds).items()
    }


def draw_png(side: int) -> bytes:
    """Draw a radiograph with the noise of a detector, so that it compresses like a real one."""
    enlarged = Image.fromarray(draw_phantom(1)).resize((side, side), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 1.0, (side, side))
    pixels = np.clip(np.asarray(enlarged) + noise, 0, 255).astype(np.uint8)
    return bytes(imagecodecs.png_encode(pixels))


def measure(engine: str, data: bytes) -> dict[str, float]:
    """One round: start, warm up, post with one and with many clients."""
    started = time.monotonic()
    settings = {**SERVED[engine], "XPRO_MODEL_DIR": str(BUNDLE), "XPRO_DRAIN_S": "0"}
    with (
        TemporaryDirectory() as folder,
        Service(Path(folder) / "log", **settings) as service,
    ):
        process, client = psutil.Process(service.process.pid), service.client
        figures = {"ready after (s)": time.monotonic() - started}
        for clients in CLIENTS:
            post_many(client, data, 10, clients)
            cpu, wall = cpu_s(process), time.monotonic()
            post_many(client, data, REQUESTS, clients)
            wall = time.monotonic() - wall
            figures[f"CPU ms per request, {clients} clients"] = (
                (cpu_s(process) - cpu) * 1000 / REQUESTS
            )
            figures[f"requests per second, {clients} clients"] = REQUESTS / wall
        figures["resident MiB, API process"] = process.memory_info().rss / 2**20
        figures["resident MiB, with workers"] = (
            sum(each.memory_info().rss for each in family(process)) / 2**20
        )
    return figures


def post_many(client: httpx.Client, data: bytes, count: int, clients: int) -> None:
    """Post `count` times from `clients` closed-loop clients; every answer must be a 200."""
    with ThreadPoolExecutor(clients) as pool:
        for answer in pool.map(
            lambda _: client.post("/predict", files={"file": data}), range(count)
        ):
            answer.raise_for_status()


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return the process and all below it."""
    return [process, *process.children(recursive=True)]


def cpu_s(process: psutil.Process) -> float:
    """Return user and system seconds of the process and all below it."""
    return sum(sum(each.cpu_times()[:2]) for each in family(process))


if __name__ == "__main__":
    main()
