"""Files with bytes flipped, dropped and inserted: read or refused, never anything else.

`tests/fuzz` sends more of them through a running service.
"""

import pytest

from contract import errors
from contract.errors import InputError
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


@pytest.mark.parametrize(
    ("files", "count"), [(IMAGES, 600), (DICOMS, 1500)], ids=["PNG and JPEG", "DICOM"]
)
def test_mutated_files_are_read_or_refused(sandbox, files, count):
    for seed in range(count):
        outcome = sandbox.read(mutate(files, seed))
        assert outcome.code in CODES | {"read"}, (seed, outcome)
        assert outcome.seconds < 5, seed
