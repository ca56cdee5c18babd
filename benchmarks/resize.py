"""`python -m benchmarks.resize`: the resize to the network's input beside Pillow's, in CPU time."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image

from contract.resize import resize
from service.__main__ import WORKER_ENVIRONMENT

SIZE: Final = 224
_CASES: Final = (
    (1024, 1024, 8),
    (2500, 2048, 8),
    (2500, 2048, 16),
    (4000, 1900, 8),
    (20_000, 128, 8),
)
_ROUNDS: Final = 40


def run_as_worker(module: str) -> int:
    """Call a module's print_table in a process that has the environment of a decoding worker."""
    command = [sys.executable, "-c", f"import {module}; {module}.print_table()"]
    environment = {**os.environ, **WORKER_ENVIRONMENT}
    return subprocess.run(command, check=False, env=environment).returncode


def print_table() -> None:
    """Print medians over rounds in which the two take turns, in Markdown."""
    print(f"| to {SIZE} x {SIZE}, ms of CPU time | ours | Pillow | ours / Pillow |")
    print("|---|---:|---:|---:|")
    for height, width, bits in _CASES:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 1 << bits, (height, width)).astype(f"uint{bits}")
        image = Image.fromarray(pixels)
        rounds = [
            (
                time_cpu_ms(resize, pixels, SIZE, SIZE),
                time_cpu_ms(image.resize, (SIZE, SIZE), Image.Resampling.BILINEAR),
            )
            for _ in range(_ROUNDS)
        ]
        ours, pillows = (statistics.median(times) for times in zip(*rounds, strict=True))
        figures = f"{ours:.2f} | {pillows:.2f} | {ours / pillows:.2f}"
        print(f"| {width} x {height}, {bits} bits | {figures} |")


def time_cpu_ms(work: Callable[..., Any], *arguments: Any) -> float:
    """Return the milliseconds of CPU time that a call takes."""
    started = time.process_time()
    work(*arguments)
    return 1000 * (time.process_time() - started)


if __name__ == "__main__":
    sys.exit(run_as_worker("benchmarks.resize"))
