"""Random changes that leave the findings as they are; for training only, outside the network."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_ROTATION_DEGREES: Final = 10.0
MAX_SHIFT: Final = 0.06
MAX_LOG_ZOOM: Final = 0.15
MAX_LOG_STRETCH: Final = 0.06
MAX_LOG_GAMMA: Final = 0.3
MAX_LOG_CONTRAST: Final = 0.25
MAX_BRIGHTNESS: Final = 25.0
"""Bounds of uniform draws: within what positioning and exposure do to a chest radiograph."""


def augment(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a randomly moved, mirrored and re-exposed copy of uint8[S,S,1]."""
    grey = Image.fromarray(image[:, :, 0])
    moved = grey.transform(
        grey.size, Image.Transform.AFFINE, _draw_affine(grey.width, rng), Image.Resampling.BILINEAR
    )
    exposed: NDArray[np.uint8] = _draw_exposure(rng)[np.asarray(moved)]
    return exposed[:, :, np.newaxis]


def _draw_affine(size: int, rng: np.random.Generator) -> tuple[float, ...]:
    angle = math.radians(rng.uniform(-MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES))
    zoom = math.exp(rng.uniform(-MAX_LOG_ZOOM, MAX_LOG_ZOOM))
    stretch = math.exp(rng.uniform(-MAX_LOG_STRETCH, MAX_LOG_STRETCH))
    mirror = rng.choice((-1.0, 1.0))
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * size
    linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = linear @ np.diag([mirror * zoom * stretch, zoom / stretch])
    centre = np.full(2, size / 2)
    offset = centre + shift - linear @ centre
    return (*linear[0], offset[0], *linear[1], offset[1])


def _draw_exposure(rng: np.random.Generator) -> NDArray[np.uint8]:
    gamma = math.exp(rng.uniform(-MAX_LOG_GAMMA, MAX_LOG_GAMMA))
    contrast = math.exp(rng.uniform(-MAX_LOG_CONTRAST, MAX_LOG_CONTRAST))
    brightness = rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)
    grey = 255.0 * (np.arange(256) / 255.0) ** gamma
    grey = (grey - 128.0) * contrast + 128.0 + brightness
    return np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8)
