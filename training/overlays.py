"""Activation maps over radiographs: where the surest right and wrong calls come from."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from contract.findings import FINDINGS
from training.localise import FRAME, Box, MapRows, enlarge_map
from training.prepare import Cache
from training.table import Row

SHOWN: Final = 6
_PER_FINDING: Final = 2
_SIDE: Final = 288
_HEAT: Final = np.array([230.0, 159.0, 0.0])
_BOX: Final = (86, 180, 233)
"""Orange and sky blue of the palette of Okabe and Ito (2008)."""


@dataclass(frozen=True)
class Overlay:
    """One call: the finding with the highest probability of its image, and the picture as PNG."""

    image: str
    finding: str
    probability: float
    true: bool
    png: bytes


def choose_examples(
    rows: Sequence[Row], probabilities: NDArray[np.floating[Any]], thresholds: Sequence[float]
) -> list[tuple[int, int]]:
    """Choose up to SHOWN true and as many false positives, the surest first, as (row, finding).

    An image stands for its highest finding, which must reach its threshold; at most two of one
    finding and one of one patient are shown, or the commonest finding would fill the page.
    """
    highest = probabilities.argmax(axis=1)
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    chosen = []
    for wanted in (1, 0):
        used: Counter[int] = Counter()
        patients: set[str] = set()
        for n in order.tolist():
            f = int(highest[n])
            positive = probabilities[n, f] >= thresholds[f] and rows[n].labels[f] == wanted
            if positive and used[f] < _PER_FINDING and rows[n].patient not in patients:
                chosen.append((n, f))
                used[f] += 1
                patients.add(rows[n].patient)
            if len(patients) == SHOWN:
                break
    return chosen


def draw_overlays(
    rows: Sequence[Row],
    probabilities: NDArray[np.floating[Any]],
    thresholds: Sequence[float],
    cache: Cache,
    map_rows: MapRows,
    boxes: Sequence[Box],
) -> list[Overlay]:
    """Draw the examples of `choose_examples`, with the boxes of their finding where there are."""
    chosen = choose_examples(rows, probabilities, thresholds)
    if not chosen:
        return []
    maps = map_rows([rows[n] for n, _ in chosen])
    overlays = []
    for (n, f), activation in zip(chosen, maps, strict=True):
        row, finding = rows[n], FINDINGS[f]
        drawn = [box for box in boxes if (box.image, box.finding) == (row.image, finding)]
        png = _blend(cache.pixels[cache.index[row.image]][:, :, 0], activation[:, :, f], drawn)
        probability = float(probabilities[n, f])
        overlays.append(Overlay(row.image, finding, probability, bool(row.labels[f]), png))
    return overlays


def _blend(
    pixels: NDArray[np.uint8], activation: NDArray[np.float32], boxes: Sequence[Box]
) -> bytes:
    grey = np.asarray(Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
    heat = enlarge_map(activation, _SIDE, _SIDE)
    # Only the upper half of the map is coloured, so that the radiograph stays visible.
    share = 0.6 * np.clip(2.0 * heat - 1.0, 0.0, 1.0)[:, :, np.newaxis]
    blended = grey[:, :, np.newaxis] * (1.0 - share) + _HEAT * share
    image = Image.fromarray(blended.astype(np.uint8))
    scale = _SIDE / FRAME
    for box in boxes:
        corners = (box.x, box.y, box.x + box.width, box.y + box.height)
        ImageDraw.Draw(image).rectangle([c * scale for c in corners], outline=_BOX, width=2)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
