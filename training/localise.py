"""Activation maps against the boxes that radiologists drew."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.findings import FINDINGS
from training.data import walk_files
from training.errors import DataError
from training.metrics import Floats, interval, or_none, weigh_shares
from training.patients import Resamples, resample_patients
from training.table import Row, image_name, open_text

FRAME: Final = 1024
"""Side in pixels of the NIH images that box coordinates count in, whatever the copy's size."""

MAP_LEVEL: Final = 0.5
"""A map's region is where it reaches this share of the way from its lowest to its highest value."""

_OVERLAPS: Final = (0.1, 0.25, 0.5)
_BOX_NAMES: Final = {"Infiltrate": "Infiltration"}
_BATCH: Final = 256

MapRows = Callable[[Sequence[Row]], NDArray[np.float32]]
"""Rows -> activation maps float32[N,h,w,14] in their order."""


@dataclass(frozen=True)
class Box:
    """Where a finding lies in an image, in pixels of the NIH frame of 1024 x 1024."""

    image: str
    finding: str
    x: float
    y: float
    width: float
    height: float


def find_and_read_boxes(folder: Path) -> tuple[Box, ...]:
    """Read the box list `BBox_List*.csv` in a data folder or one below it; none without one.

    Raises DataError where there are several.
    """
    found = [
        path
        for path in walk_files(folder)
        if path.name.startswith("BBox_List") and path.name.endswith((".csv", ".csv.gz"))
    ]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} are two box lists; keep one.")
    return read_boxes(found[0]) if found else ()


def read_boxes(path: Path) -> tuple[Box, ...]:
    """Read the NIH box list: image, finding, x, y, width, height, told by position.

    Its header names only two columns properly. Raises DataError, naming the line, for an unknown
    finding or what is not a box within the frame.
    """
    with open_text(path) as file:
        reader = csv.reader(file)
        next(reader, None)
        return tuple(
            _parse_box(f"{path}, line {reader.line_num}", line) for line in reader if any(line)
        )


def localise(
    rows: Sequence[Row], boxes: Sequence[Box], map_rows: MapRows, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Return pointing game and IoU of the maps of boxed findings, None where no row has a box.

    Pointing game (Zhang et al., 2016): whether the middle of the map's highest cell lies in a box
    of the finding; `chance` is the boxes' mean share of the image. IoU is between the boxes and the
    map's region; `iou_above` gives the share of maps that reach each overlap, as Wang et al. (2017)
    do. Intervals are over resamples of patients.
    """
    by_image = {row.image: row for row in rows}
    boxed: dict[tuple[str, str], list[Box]] = {}
    for box in boxes:
        if box.image in by_image:
            boxed.setdefault((box.image, box.finding), []).append(box)
    if not boxed:
        return None
    images = sorted({image for image, _ in boxed})
    measures = np.full((len(boxed), 3), np.nan)
    places = {key: n for n, key in enumerate(boxed)}
    for start in range(0, len(images), _BATCH):
        chosen = images[start : start + _BATCH]
        maps = map_rows([by_image[image] for image in chosen])
        for image, image_maps in zip(chosen, maps, strict=True):
            for f, finding in enumerate(FINDINGS):
                if (image, finding) in boxed:
                    mask = _draw_boxes(boxed[image, finding])
                    measures[places[image, finding]] = _compare(image_maps[:, :, f], mask)
    patients = np.array([by_image[image].patient for image, _ in boxed])
    named = np.array([finding for _, finding in boxed])
    draws = resample_patients(patients, resamples, seed)
    groups = ["all", *[finding for finding in FINDINGS if finding in named]]
    return {
        "images": len(images),
        "map_side": list(maps.shape[1:3]),
        "map_level": MAP_LEVEL,
        "findings": [
            _summarise(name, measures, (named == name) | (name == "all"), draws) for name in groups
        ],
    }


def enlarge_map(activation: NDArray[np.float32], width: int, height: int) -> Floats:
    """Stretch a map [h,w] over an image of width x height pixels, bilinearly, from 0 to 1.

    The network's input is the whole image stretched to a square, so a map covers all of the image
    and stretching it back needs no offset.
    """
    stretched = Image.fromarray(activation.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    values = np.asarray(stretched, np.float64)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _compare(activation: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[float, ...]:
    region = enlarge_map(activation, FRAME, FRAME) >= MAP_LEVEL
    overlap = float((region & mask).sum() / (region | mask).sum())
    # Enlarged, a cell at the border is highest from its centre to the edge; the centre is meant.
    row, column = np.unravel_index(np.argmax(activation), activation.shape)
    y, x = (
        (2 * at + 1) * FRAME // (2 * n)
        for at, n in zip((row, column), activation.shape, strict=True)
    )
    # A flat map points nowhere.
    hit = bool(activation.max() > activation.min() and mask[y, x])
    return float(hit), overlap, float(mask.mean())


def _draw_boxes(boxes: Sequence[Box]) -> NDArray[np.bool_]:
    mask = np.zeros((FRAME, FRAME), np.bool_)
    for box in boxes:
        left, top = round(box.x), round(box.y)
        right, bottom = round(box.x + box.width), round(box.y + box.height)
        mask[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return mask


def _summarise(
    name: str, measures: Floats, members: NDArray[np.bool_], resamples: Resamples
) -> dict[str, Any]:
    reached = [measures[:, 1] >= overlap for overlap in _OVERLAPS]
    columns = np.stack([measures[:, 0], measures[:, 1], measures[:, 2], *reached], axis=1)
    inside = np.repeat(members[:, np.newaxis], columns.shape[1], axis=1)
    whole, drawn = weigh_shares(resamples, columns, inside)
    return {
        "name": name,
        "maps": int(members.sum()),
        "pointing_game": or_none(whole[0]),
        "pointing_game_ci": interval(drawn[:, 0]),
        "chance": or_none(whole[2]),
        "iou": or_none(whole[1]),
        "iou_ci": interval(drawn[:, 1]),
        "iou_above": {str(o): or_none(whole[3 + n]) for n, o in enumerate(_OVERLAPS)},
    }


def _parse_box(where: str, line: list[str]) -> Box:
    name = line[1].strip() if len(line) > 1 else ""
    finding = _BOX_NAMES.get(name, name)
    if finding not in FINDINGS:
        raise DataError(f"{where}: unknown finding {finding!r}.")
    try:
        x, y, width, height = map(float, line[2:6])
    except ValueError:
        raise DataError(f"{where}: expected x, y, width and height as numbers.") from None
    if not (x >= 0 and y >= 0 and 0 < width <= FRAME - x + 1 and 0 < height <= FRAME - y + 1):
        raise DataError(f"{where}: the box does not lie within {FRAME} x {FRAME} pixels.")
    return Box(image_name(line[0]), finding, x, y, width, height)
