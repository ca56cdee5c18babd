"""Prepared images -> batches, for any Keras backend."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from training.augment import augment
from training.prepare import Cache
from training.table import Row


class RadiographBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of image uint8[B,S,S,1] and labels float32[B,14], of nearly equal sizes.

    They differ by one at most, so that none is too small for batch statistics or several devices.
    `shuffled` draws a new order every epoch, `augmented` changes every image at random; both depend
    on `seed`, epoch and position alone; `first_epoch` is how many epochs went before. Otherwise
    rows keep their order. `labels` float32[N,14] are those of all rows in their order.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        cache: Cache,
        batch_size: int,
        *,
        shuffled: bool = False,
        augmented: bool = False,
        seed: int = 0,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._pixels = cache.pixels
        self._places = np.array([cache.index[row.image] for row in rows])
        self.labels = np.array([row.labels for row in rows], np.float32)
        self._ends = np.linspace(
            0, len(rows), math.ceil(len(rows) / batch_size) + 1, dtype=np.int64
        )
        self._shuffled, self._augmented, self._seed = shuffled, augmented, seed
        self._epoch = first_epoch - 1
        self.on_epoch_begin()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        chosen = self._order[self._ends[batch] : self._ends[batch + 1]]
        images = self._pixels[self._places[chosen]]
        if self._augmented:
            rng = np.random.default_rng((self._seed, self._epoch, batch))
            images = np.stack([augment(image, rng) for image in images])
        return images, self.labels[chosen]

    def on_epoch_begin(self) -> None:
        """Draw the order of the next epoch."""
        self._epoch += 1
        rng = np.random.default_rng((self._seed, self._epoch))
        count = len(self._places)
        self._order = rng.permutation(count) if self._shuffled else np.arange(count)
