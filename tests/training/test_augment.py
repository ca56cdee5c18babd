import numpy as np

from training.augment import augment
from training.phantom import draw_phantom


def test_augmented_radiograph_keeps_shape_and_type_and_differs(rng: np.random.Generator) -> None:
    image = draw_phantom(1)[:, :, np.newaxis]
    changed = [augment(image, rng) for _ in range(4)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in changed)
    assert len({one.tobytes() for one in changed}) == 4


def test_augmented_radiograph_stays_in_view(rng: np.random.Generator) -> None:
    image = np.zeros((96, 96, 1), np.uint8)
    image[40:56, 40:56] = 200
    assert all((augment(image, rng) > 120).sum() > 100 for _ in range(50))


def test_same_source_of_chance_gives_the_same_change() -> None:
    image = draw_phantom(1)[:, :, np.newaxis]
    first, second = (augment(image, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
