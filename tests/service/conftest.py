"""Drawn radiographs as files."""

import io

import numpy as np
import pytest
from PIL import Image

from training.phantom import draw_phantom


def encode(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def png() -> bytes:
    """A drawn radiograph as 8-bit grey PNG."""
    return encode(draw_phantom(1, ()))


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """Another drawn radiograph as grey JPEG."""
    return encode(draw_phantom(2, ()), "JPEG")
