"""Prepared images -> batches, for any Keras backend."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from training.augment import augment
from training.prepare import Cache
from training.table import Row, stack_labels


class RadiographBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of image uint8[B,S,S,1] and labels float32[B,14], of nearly equal sizes.

    So none is too small for batch statistics. Each divides evenly among `devices`; images too many
    for that are left out, others in every epoch.
    `shuffled` draws a new order every epoch, `augmented` changes every image at random; both depend
    on `seed`, the epoch last begun and position alone. Otherwise rows keep their order. `labels`
    float32[N,14] are those of all rows in their order, or what is given in their place.
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
        devices: int = 1,
        labels: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self._pixels = cache.pixels
        self._places = np.array([cache.index[row.image] for row in rows])
        self.labels = stack_labels(rows).astype(np.float32) if labels is None else labels
        of_each = len(rows) // devices
        count = min(math.ceil(len(rows) / batch_size), of_each)
        self._ends = np.linspace(0, of_each, count + 1, dtype=np.int64) * devices
        self._shuffled, self._augmented, self._seed = shuffled, augmented, seed
        self.begin_epoch(0)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        chosen = self._order[self._ends[batch] : self._ends[batch + 1]]
        images = self._pixels[self._places[chosen]]
        if self._augmented:
            rng = np.random.default_rng((self._seed, self._epoch, batch))
            images = np.stack([augment(image, rng) for image in images])
        return images, self.labels[chosen]

    def begin_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch; Keras' own hook does not say which one it is."""
        self._epoch = epoch
        rng = np.random.default_rng((self._seed, epoch))
        count = len(self._places)
        self._order = rng.permutation(count) if self._shuffled else np.arange(count)
