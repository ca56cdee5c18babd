"""Train the network and keep the weights of the epoch with the best validation AUROC."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig
from training.dataset import RadiographBatches
from training.losses import build_loss, share_of_positives
from training.metrics import macro_auroc
from training.network import build_network
from training.prepare import Cache
from training.split import Split
from training.table import Row

WEIGHTS: Final = "best.weights.h5"
HISTORY: Final = "history.csv"


def fit(config: TrainConfig, split: Split, cache: Cache, run: Path) -> None:
    """Train on `split.train`, select on `split.validation`; writes WEIGHTS and HISTORY into `run`.

    The weights judged and kept are the exponential moving average of the trained ones.
    """
    keras.utils.set_random_seed(config.seed)
    network = build_network(config, config.precision)
    batches = RadiographBatches(
        split.train,
        cache,
        config.batch_size,
        shuffled=True,
        augmented=config.augment,
        seed=config.seed,
    )
    model = keras.Model(network.input, network.output["logits"])
    model.compile(
        _build_optimizer(config, len(batches)),
        build_loss(config.loss, share_of_positives(batches.labels), config.label_smoothing),
        # On two CPU cores XLA took 30 % longer per step than TensorFlow without it.
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    callbacks = [
        # First, so that everything after it sees the averaged weights.
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        _KeepBest(network, RadiographBatches(split.validation, cache, config.batch_size), run),
        # Stops only: the averaged weights worth keeping are on disk by now.
        keras.callbacks.EarlyStopping("val_auroc", mode="max", patience=config.patience),
        keras.callbacks.CSVLogger(str(run / HISTORY)),
    ]
    verbose = 1 if sys.stdout.isatty() else 2
    # The batches shuffle rows themselves, reproducibly.
    model.fit(batches, epochs=config.epochs, shuffle=False, callbacks=callbacks, verbose=verbose)


def load_best(config: TrainConfig, run: Path) -> keras.Model:
    """Return the float32 network with the best weights of a run."""
    # Every weight is replaced, so nothing is fetched.
    network = build_network(replace(config, pretrained=""))
    network.load_weights(run / WEIGHTS)
    return network


def predict_logits(
    network: keras.Model, rows: Sequence[Row], cache: Cache, batch_size: int
) -> NDArray[np.float32]:
    """Return the logits of rows in their order, float32[N,14]."""
    batches = RadiographBatches(rows, cache, batch_size)
    model = keras.Model(network.input, network.output["logits"])
    logits: NDArray[np.float32] = model.predict(batches, verbose=0)
    return logits


class _KeepBest(keras.callbacks.Callback):  # type: ignore[misc]
    """Measure macro AUROC on validation after each epoch and save weights that raise it."""

    def __init__(self, network: keras.Model, validation: RadiographBatches, run: Path) -> None:
        super().__init__()
        self._network = network
        self._validation = validation
        self._path = run / WEIGHTS
        self._best = -1.0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:  # noqa: ARG002 - Keras names it
        """Add `val_auroc` to the epoch's logs, which CSVLogger writes after this."""
        logits = self.model.predict(self._validation, verbose=0)
        logs["val_auroc"] = macro_auroc(self._validation.labels, logits)
        # Without a defined AUROC the last epoch is as good as any.
        if not logs["val_auroc"] <= self._best:
            self._best = logs["val_auroc"]
            self._network.save_weights(self._path)


def _build_optimizer(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=config.epochs * steps_per_epoch - warmup_steps,
        warmup_target=config.learning_rate,
        warmup_steps=warmup_steps,
    )
    optimizer = keras.optimizers.AdamW(
        rate,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
        use_ema=True,
        ema_momentum=config.ema_momentum,
    )
    # Shrinking normalisation and biases does not regularise.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
