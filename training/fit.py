"""Train the network and keep the weights of the epoch with the best validation AUROC."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from training.checkpoint import (
    History,
    best_epoch,
    has_state,
    is_over,
    load_state,
    save_state,
    state_arrays,
)
from training.config import TrainConfig
from training.dataset import RadiographBatches
from training.devices import make_deterministic, use_all_devices
from training.disk import require_free_space
from training.errors import RunError
from training.facts import ask_facts, config_for_facts
from training.losses import build_loss, share_of_positives
from training.metrics import Floats, macro_auroc
from training.network import build_ensemble, build_network
from training.prepare import Cache
from training.progress import Journal, ProgressBar
from training.table import Row, stack_labels

WEIGHTS: Final = "best.weights.h5"


def fit(
    config: TrainConfig,
    rows: Sequence[Row],
    validation: Sequence[Row],
    cache: Cache,
    run: Path,
    shares: Floats | None = None,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train on `rows`, select the epoch on `validation`; writes WEIGHTS and HISTORY into `run`.

    Without validation the last epoch's weights are kept. The weights judged and kept are the
    exponential moving average of the trained ones. A fit to the facts of the patients of `rows`
    comes first where `config` has epochs for it. Resumes after the last whole epoch where `run`
    holds an unfinished fit. `shares` of positives, [14], are for the weighted loss; by default
    those of `rows`. `watchers` are called after our own callbacks; one that stops the fit within an
    epoch ends that epoch: it is judged like a whole one.
    """
    first = _fit_facts(config, rows, cache, run)
    make_deterministic()
    keras.utils.set_random_seed(config.seed)
    if shares is None:
        shares = share_of_positives(stack_labels(rows))
    loss = build_loss(config.loss, shares, config.label_smoothing)
    steps = math.ceil(len(rows) / config.batch_size)
    scope, devices = use_all_devices()
    with scope:
        network, model = _build_model(config, first, has_state(run), steps, loss, devices)
        history = load_state(run, model)
    if is_over(history, config):
        return
    batches = RadiographBatches(
        rows,
        cache,
        config.batch_size,
        shuffled=True,
        augmented=config.augment,
        seed=config.seed,
        devices=devices,
    )
    selecting = RadiographBatches(validation, cache, config.batch_size) if validation else None
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: batches.begin_epoch(epoch)),
        _Judge(config, network, loss, selecting, run, history),
        ProgressBar(run.name, len(history), config.epochs, steps),
        *watchers,
    ]
    model.fit(
        batches,
        initial_epoch=len(history),
        epochs=config.epochs,
        shuffle=False,  # the batches shuffle rows themselves, reproducibly
        callbacks=callbacks,
        verbose=0,
    )


def _fit_facts(config: TrainConfig, rows: Sequence[Row], cache: Cache, run: Path) -> Path | None:
    """Fit a network to the facts of the patients, unless what follows has begun.

    Returns its weights, None where there are none to begin from.
    """
    if not config.fact_epochs or has_state(run):
        return None
    facts = ask_facts(rows)
    if not facts:
        print("No row of the table tells view, sex and age, so no epoch goes to telling them.")
        return None
    folder = run / f"{run.name}-facts"
    folder.mkdir(exist_ok=True)
    fit(config_for_facts(config), facts, (), cache, folder)
    return folder / WEIGHTS


def _build_model(
    config: TrainConfig,
    first: Path | None,
    begun: bool,
    steps: int,
    loss: Callable[..., Any],
    devices: int,
) -> tuple[keras.Model, keras.Model]:
    """Return the network and its logits as a compiled model; `steps` are those of an epoch.

    Its weights below the head are those of the file `first`, if one is given.
    """
    # A state replaces every weight, so nothing is fetched where the fit has begun.
    fetched = config if not (first or begun) else replace(config, pretrained="")
    network = build_network(fetched, config.precision)
    if first:
        _begin_from(network, first)
    _settle_norms(network, config.epochs * steps)
    model = keras.Model(network.input, network.output["logits"])
    # On two CPU cores XLA took 30 % longer per step than TensorFlow without it.
    compiled = "auto" if keras.backend.backend() == "jax" else False
    model.compile(_build_optimizer(config, steps, devices), loss, jit_compile=compiled)
    model.optimizer.build(model.trainable_variables)
    return network, model


def _begin_from(network: keras.Model, weights: Path) -> None:
    """Load weights of the same network, but for the head, which answered other questions."""
    head = network.get_layer("head")
    fresh = head.get_weights()
    network.load_weights(weights)
    head.set_weights(fresh)


def _settle_norms(network: keras.Model, steps: int) -> None:
    """Let the moving statistics of batch normalisation forget all but the last tenth of the fit.

    Keras keeps some 100 batches: after 60 steps more than half would still be the initial 0 and 1,
    and the network that is measured another one than was trained.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, max(0.0, 1.0 - 10.0 / steps))


def load_best(config: TrainConfig, run: Path) -> keras.Model:
    """Return the float32 network with the best weights of a run."""
    # Every weight is replaced, so nothing is fetched.
    offline = replace(config, pretrained="")
    network = build_ensemble(offline)[0] if config.folds else build_network(offline)
    network.load_weights(run / WEIGHTS)
    return network


def predict(
    network: keras.Model,
    rows: Sequence[Row],
    cache: Cache,
    batch_size: int,
    output: str = "logits",
) -> NDArray[np.float32]:
    """Return one output of the network for rows in their order, float32[N,...]."""
    batches = RadiographBatches(rows, cache, batch_size)
    answers: NDArray[np.float32] = keras.Model(network.input, network.output[output]).predict(
        batches, verbose=0
    )
    return answers


class _Judge(keras.callbacks.Callback):  # type: ignore[misc]
    """Measure the averaged weights after each epoch, keep the best, and keep the state."""

    def __init__(
        self,
        config: TrainConfig,
        network: keras.Model,
        loss: Callable[..., Any],
        validation: RadiographBatches | None,
        run: Path,
        history: History,
    ) -> None:
        super().__init__()
        self._config, self._network, self._loss, self._run = config, network, loss, run
        self._validation, self._history = validation, history
        self._journal = Journal(run, config.epochs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Finish the epoch on disk, so that a kill later on costs nothing of it.

        Raises RunError for a loss that is no number any more.
        """
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"The loss of epoch {epoch + 1} is {logs['loss']}: the steps were too large. Begin "
                "anew with a smaller learning_rate or clip_norm."
            )
        require_free_space(self._run, 2 * sum(array.nbytes for array in state_arrays(self.model)))
        weights = self.model.trainable_variables
        trained = _copy(weights)
        self.model.optimizer.finalize_variable_values(weights)
        # On JAX both would be one array, and prediction gives the network's arrays away.
        _assign(weights, _copy(weights))
        self._history.append({"epoch": epoch + 1, "loss": float(logs["loss"]), **self._measure()})
        best = best_epoch(self._history) == epoch
        if best:
            new = self._run / f"new.{WEIGHTS}"
            self._network.save_weights(new)
            new.replace(self._run / WEIGHTS)
        _assign(weights, trained)
        # The state comes last: a kill before it repeats the epoch, and writes the same again.
        self._journal.add(self._history, best=best and self._validation is not None)
        save_state(self._run, self.model, self._history)
        if is_over(self._history, self._config):
            self.model.stop_training = True

    def _measure(self) -> dict[str, float]:
        if self._validation is None:
            return {}
        logits = self.model.predict(self._validation, verbose=0)
        labels = self._validation.labels
        return {
            "val_loss": float(keras.ops.mean(self._loss(labels, logits))),
            "val_auroc": macro_auroc(labels, logits),
        }


def _copy(variables: Sequence[Any]) -> list[NDArray[Any]]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _build_optimizer(
    config: TrainConfig, steps_per_epoch: int, devices: int
) -> keras.optimizers.Optimizer:
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
        # Keras clips on each device, whose gradients are a share of those that it then adds up.
        global_clipnorm=config.clip_norm / devices or None,
        use_ema=True,
        ema_momentum=config.ema_momentum,
    )
    # Shrinking normalisation and biases does not regularise.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
