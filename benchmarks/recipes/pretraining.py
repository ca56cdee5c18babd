"""Fits that learn from more than labels of findings: taught by other fits, or pretrained.

Nothing but the same training images goes in, and the CPU time is that of any other fit: one that is
pretrained has half of it before and half after. Teachers' own time does not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from benchmarks.recipes import ENDLESS, Way
from benchmarks.recipes.budget import Clock, Costs, Fit, Used, fit_within
from training.augment import augment
from training.config import TrainConfig
from training.dataset import RadiographBatches
from training.epoch import WEIGHTS
from training.facts import ask_facts
from training.fit import load_best, predict
from training.network import build_network
from training.prepare import Cache
from training.split import Split
from training.table import Row, stack_labels

_TEMPERATURE: Final = 0.1
_PROJECTED: Final = 64


def fit_distilled(
    budget_s: float, config: TrainConfig, split: Split, cache: Cache, run: Path
) -> tuple[TrainConfig, Used]:
    """Learn half from the labels, half from what the finished fits of `ours` beside `run` say.

    Hinton et al., Distilling the knowledge in a neural network, 2015.
    """
    teachers = [load_best(config, folder) for folder in sorted(run.parent.glob("ours-*"))]
    said = [predict(each, split.train, cache, config.batch_size) for each in teachers]
    probabilities = 1.0 / (1.0 + np.exp(-np.mean(said, axis=0)))
    targets = (stack_labels(split.train) + probabilities) / 2
    taught = replace(split, train=_relabel(split.train, targets))
    return fit_within(budget_s, config, taught, cache, run)


def fit_after_facts(
    budget_s: float, config: TrainConfig, split: Split, cache: Cache, run: Path
) -> tuple[TrainConfig, Used]:
    """Learn to tell view, sex and age, then findings."""
    before = run / "before"
    told = replace(split, train=ask_facts(split.train), validation=ask_facts(split.validation))
    fit_within(budget_s / 2, config, told, cache, before)
    begin = Begin(config, before / WEIGHTS)
    return fit_within(budget_s / 2, config, split, cache, run, [begin])


def fit_contrastive(
    budget_s: float, config: TrainConfig, split: Split, cache: Cache, run: Path
) -> tuple[TrainConfig, Used]:
    """Learn which two of many changed images are of one radiograph, then findings.

    SimCLR (Chen et al., A simple framework for contrastive learning, ICML 2020).
    """
    weights = run / "before.weights.h5"
    if not weights.exists():
        network = build_network(config, config.precision)
        hidden = layers.Dense(_PROJECTED, "relu")(network.output["embedding"])
        projected = ops.normalize(layers.Dense(_PROJECTED)(hidden))
        model = keras.Model(network.input, projected)
        model.compile(
            keras.optimizers.AdamW(config.learning_rate), contrastive_loss, jit_compile=False
        )
        pairs = Pairs(split.train, cache, config.batch_size, config.seed)
        clock = Clock(budget_s / 2, Costs(0.0, 0.0, 0.0))
        model.fit(pairs, epochs=ENDLESS, callbacks=[clock], verbose=0)
        network.save_weights(weights)
    begin = Begin(config, weights)
    return fit_within(budget_s / 2, config, split, cache, run, [begin])


FITS: Final[Mapping[Way, Fit]] = {
    "": fit_within,
    "distilled": fit_distilled,
    "facts": fit_after_facts,
    "contrastive": fit_contrastive,
}


class Begin(keras.callbacks.Callback):  # type: ignore[misc]
    """Put the weights of a fit before this one under the head, once."""

    def __init__(self, config: TrainConfig, weights: Path) -> None:
        super().__init__()
        self._before = build_network(config)
        self._before.load_weights(weights)

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' name
        """Copy them, unless the fit goes on after a kill."""
        if int(self.model.optimizer.iterations) > 0:
            return
        for ours, theirs in zip(self.model.weights, self._before.weights, strict=True):
            if "head" not in ours.path:
                ours.assign(theirs)


class Pairs(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of images changed at random in one way and, behind them, in another."""

    def __init__(self, rows: Sequence[Row], cache: Cache, batch_size: int, seed: int) -> None:
        super().__init__()
        self._images = RadiographBatches(rows, cache, batch_size, shuffled=True, seed=seed)
        self._seed, self._epoch = seed, 0

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        images, _ = self._images[batch]
        rng = np.random.default_rng((self._seed, self._epoch, batch))
        changed = np.stack([augment(image, rng) for image in (*images, *images)])
        return changed, np.zeros(len(changed), np.float32)

    def on_epoch_end(self) -> None:
        """Draw a new order."""
        self._epoch += 1
        self._images.begin_epoch(self._epoch)


def contrastive_loss(_: Any, projected: Any) -> Any:
    """Return the loss of unit vectors [2B,P], of which i and B + i belong together, [2B]."""
    count = ops.shape(projected)[0]
    alike = ops.matmul(projected, ops.transpose(projected)) / _TEMPERATURE
    others = alike - 1e9 * ops.eye(count)
    partners = ops.roll(ops.arange(count), count // 2)
    return keras.losses.sparse_categorical_crossentropy(partners, others, from_logits=True)


def _relabel(rows: Sequence[Row], labels: NDArray[np.float64]) -> tuple[Row, ...]:
    return tuple(
        replace(row, labels=tuple(own)) for row, own in zip(rows, labels.tolist(), strict=True)
    )
