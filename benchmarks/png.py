"""`python -m benchmarks.png`: reading of PNG beside libpng's decoding alone, in CPU time."""

import io
import statistics
import sys
from typing import Final

import imagecodecs
import numpy as np
from PIL import Image

from benchmarks.engines import draw_png
from benchmarks.resize import run_as_worker, time_cpu_ms
from contract.image import read_image

_SIDE: Final = 1024
_ROUNDS: Final = 40


def print_table() -> None:
    """Print medians over rounds in which the two take turns, in Markdown."""
    print(f"| {_SIDE} x {_SIDE} PNG to grey, ms of CPU time | ours | libpng | ours / libpng |")
    print("|---|---:|---:|---:|")
    for kind, data in _draw().items():
        rounds = [
            (time_cpu_ms(read_image, data, "PNG"), time_cpu_ms(imagecodecs.png_decode, data))
            for _ in range(_ROUNDS)
        ]
        ours, libpngs = (statistics.median(times) for times in zip(*rounds, strict=True))
        print(f"| {kind} | {ours:.2f} | {libpngs:.2f} | {ours / libpngs:.2f} |")


def _draw() -> dict[str, bytes]:
    """Draw one radiograph in each kind; of 16 bits the lower ones are noise."""
    with Image.open(io.BytesIO(draw_png(_SIDE))) as image:
        grey = np.asarray(image)
    low = np.random.default_rng(0).integers(0, 256, grey.shape, np.uint16)
    kinds = {
        "8-bit grey": grey,
        "8-bit RGB": np.dstack([grey] * 3),
        "8-bit RGB with alpha": np.dstack([grey] * 3 + [np.full_like(grey, 255)]),
        "16-bit grey": grey * np.uint16(256) + low,
    }
    return {kind: bytes(imagecodecs.png_encode(pixels)) for kind, pixels in kinds.items()}


if __name__ == "__main__":
    sys.exit(run_as_worker("benchmarks.png"))
