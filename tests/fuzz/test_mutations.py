"""Damaged files of fixed seeds through a running service."""

from collections.abc import Callable

from tests.contract.mutations import DICOMS, IMAGES, mutate
from tests.fuzz.watch import Watch


def test_mutated_png_and_jpeg_never_harm_the_service(watch, cases):
    send(watch, cases(300, 20_000), lambda seed: mutate(IMAGES, seed))


def test_mutated_dicom_never_harms_the_service(watch, cases):
    send(watch, cases(300, 5_000), lambda seed: mutate(DICOMS, seed))


def send(watch: Watch, count: int, make: Callable[[int], bytes]) -> None:
    before = watch.outcomes.total()
    for start in range(0, count, 100):
        watch.post_all(make, range(start, min(start + 100, count)))
    assert watch.outcomes.total() - before == count
    assert {"answered", "damaged_file"} <= set(watch.outcomes), "the seeds reach one side only"
