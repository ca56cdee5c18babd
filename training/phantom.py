"""Drawn chest radiographs: for golden examples, smoke training and tests, with no patient in them.

Only four findings are drawn, each crudely. A network that learns them shows that the chain works,
nothing about radiographs.
"""

import csv
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.table import NO_FINDING

DRAWN_FINDINGS: Final = ("Cardiomegaly", "Effusion", "Mass", "Nodule")
_SIDE: Final = 256
_FREQUENCY: Final = 0.3
_IMAGES_PER_PATIENT: Final = 2


def draw_phantom(seed: int, findings: tuple[str, ...] = ()) -> NDArray[np.uint8]:
    """Draw a frontal chest radiograph, uint8[256,256], with `findings`, of DRAWN_FINDINGS."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (_SIDE, _SIDE), int(rng.integers(5, 25)))
    draw = ImageDraw.Draw(image)
    x, y = 128 + rng.normal(0, 3), 128 + rng.normal(0, 3)
    _ellipse(draw, x, y + 60, 112, 190, int(rng.integers(140, 165)))
    for side in (-1, 1):
        _draw_lung(draw, x + side * 50, y, rng)
    for finding, least, most in (("Mass", 16, 22), ("Nodule", 6, 9)):
        if finding in findings:
            radius, side = rng.uniform(least, most), rng.choice((-1, 1))
            centre_x, centre_y = x + side * rng.uniform(40, 66), y + rng.uniform(-50, 30)
            _ellipse(draw, centre_x, centre_y, radius, radius, 170)
    _draw_heart(draw, x, y, "Cardiomegaly" in findings, rng)
    draw.rectangle((x - 9, 0, x + 9, _SIDE), fill=185)
    image = image.filter(ImageFilter.GaussianBlur(2.5))
    _draw_ribs(image, x, y, rng)
    if "Effusion" in findings:
        _draw_effusion(image, x + rng.choice((-50, 50)), y, rng)
    noise = rng.normal(0, 4, (_SIDE, _SIDE))
    return np.clip(np.rint(np.asarray(image) + noise), 0, 255).astype(np.uint8)


def write_drawn_folder(folder: Path, patients: int, seed: int) -> None:
    """Write drawn images of `patients` patients with an NIH table, the layout of a data folder."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    with (folder / "Data_Entry_drawn.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("Image Index", "Finding Labels", "Patient ID"))
        for patient in range(patients):
            for follow_up in range(_IMAGES_PER_PATIENT):
                name = f"{patient:08}_{follow_up:03}.png"
                present = rng.random(len(DRAWN_FINDINGS)) < _FREQUENCY
                findings = tuple(np.array(DRAWN_FINDINGS)[present])
                pixels = draw_phantom(int(rng.integers(2**32)), findings)
                Image.fromarray(pixels).save(folder / "images" / name)
                table.writerow((name, "|".join(findings) or NO_FINDING, patient))


def _draw_lung(draw: ImageDraw.ImageDraw, x: float, y: float, rng: np.random.Generator) -> None:
    dark = int(rng.integers(45, 75))
    _ellipse(draw, x, y, 36 + rng.normal(0, 2), 85 + rng.normal(0, 4), dark)
    _ellipse(draw, x, y + 92, 48, 22 + rng.normal(0, 2), 150)


def _draw_heart(
    draw: ImageDraw.ImageDraw, x: float, y: float, enlarged: bool, rng: np.random.Generator
) -> None:
    width = (64 if enlarged else 38) + rng.normal(0, 2)
    _ellipse(draw, x + 12, y + 48, width, 36 + rng.normal(0, 2), 170)


def _draw_ribs(image: Image.Image, x: float, y: float, rng: np.random.Generator) -> None:
    ribs = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(ribs)
    brightness = int(rng.integers(18, 34))
    for rib in range(9):
        top = y - 95 + rib * 20
        for side in (-1, 1):
            left, right = sorted((x, x + side * 92))
            draw.arc((left, top, right, top + 46), 180, 360, fill=brightness, width=5)
    lighter = np.asarray(image).astype(np.int16) + np.asarray(ribs)
    image.paste(Image.fromarray(np.clip(lighter, 0, 255).astype(np.uint8)))


def _draw_effusion(image: Image.Image, x: float, y: float, rng: np.random.Generator) -> None:
    fluid = Image.new("L", image.size, 0)
    level = y + rng.uniform(20, 40)
    ImageDraw.Draw(fluid).rectangle((x - 42, level, x + 42, y + 110), fill=255)
    mask = fluid.filter(ImageFilter.GaussianBlur(6))
    image.paste(Image.new("L", image.size, 170), mask=mask)


def _ellipse(
    draw: ImageDraw.ImageDraw, x: float, y: float, half_width: float, half_height: float, grey: int
) -> None:
    draw.ellipse((x - half_width, y - half_height, x + half_width, y + half_height), fill=grey)
