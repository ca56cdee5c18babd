"""What a test wants to know about a file, in one word each."""

import numpy as np
import pytest

from contract.errors import InputError
from contract.radiograph import read


def pixels_of(file: bytes) -> np.ndarray:
    return read(file).pixels


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
