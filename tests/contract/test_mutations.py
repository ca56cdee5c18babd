"""Files with bytes flipped, dropped and inserted: read or refused, never anything else.

`tests/fuzz` sends more of them through a running service.
"""

import contextlib

from contract import errors
from contract.errors import InputError
from contract.radiograph import read
from tests.contract.mutations import DICOMS, IMAGES, mutate

CODES = {
    kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, InputError)
}


def test_every_seed_is_another_file_and_always_the_same():
    files = [mutate(IMAGES, seed) for seed in range(100)]
    assert len(set(files)) > 95
    assert files == [mutate(IMAGES, seed) for seed in range(100)]
    assert not set(files) & set(IMAGES.values())


def test_mutated_png_and_jpeg_are_read_or_refused():
    for seed in range(600):
        with contextlib.suppress(InputError):
            read(mutate(IMAGES, seed))


def test_mutated_dicom_is_read_or_refused(sandbox):
    for seed in range(1500):
        outcome = sandbox.read(mutate(DICOMS, seed))
        assert outcome.code in CODES | {"read"}, (seed, outcome)
        assert outcome.seconds < 5, seed
