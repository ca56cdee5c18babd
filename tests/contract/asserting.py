"""What a test wants to know about a file, in one word each."""

import numpy as np
import pytest

from contract.errors import InputError
from contract.radiograph import read
from tests.contract.drawn import dicom, image_of

WHITE = 65535


def pixels_of(file: bytes) -> np.ndarray:
    return read(file).pixels


def shown(values, dtype=np.uint16, **tags):
    """Return what becomes of stored values, 0 black to 1 white."""
    pixels = pixels_of(dicom(image_of(*values, dtype=dtype), **tags))
    return pixels.ravel()[: len(values)] / np.iinfo(pixels.dtype).max


def assert_shown(found, expected):
    assert found == pytest.approx(expected, abs=1 / WHITE)


def warning_codes(file: bytes) -> list[str]:
    return [warning.code for warning in read(file).warnings]


def refusal(file: bytes) -> str:
    """Return the code with which a file is refused."""
    return _refused(file).code


def refusal_text(file: bytes) -> str:
    return str(_refused(file))


def _refused(file: bytes) -> InputError:
    with pytest.raises(InputError) as refused:
        read(file)
    return refused.value
