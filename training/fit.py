"""Train the network and keep the weights of the epoch with the best validation AUROC."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.checkpoint import has_state, is_over, load_state
from training.config import TrainConfig
from training.dataset import RadiographBatches
from training.devices import make_deterministic, use_all_devices
from training.epoch import WEIGHTS, Judge
from training.facts import ask_facts, config_for_facts
from training.history import soften
from training.losses import build_loss, share_of_positives
from training.metrics import Floats
from training.network import build_ensemble, build_network
from training.prepare import Cache
from training.progress import FACTS, ProgressBar, name_fit
from training.table import Row, stack_labels


def fit(
    config: TrainConfig,
    rows: Sequence[Row],
    validation: Sequence[Row],
    cache: Cache,
    run: Path,
    shares: Floats | None = None,
    watchers: Sequence[keras.callbacks.Callback] = (),
    begin: Path | None = None,
) -> None:
    """Train on `rows`, select the epoch on `validation`; writes WEIGHTS and HISTORY into `run`.

    Without validation the last epoch's weights are kept. The weights judged and kept are the
    exponential moving average of the trained ones. A fit to the facts of the patients of `rows`
    comes first where `config` has epochs for it; `begin` are weights to go on from instead, those
    of the head included. Resumes after the last whole epoch where `run` holds an unfinished fit.
    `shares` of positives, [14], are for the weighted loss; by default those of `rows`. `watchers`
    are called after our own callbacks; one that stops the fit within an epoch ends that epoch: it
    is judged like a whole one.
    """
    facts = _fit_facts(config, rows, cache, run)
    make_deterministic()
    keras.utils.set_random_seed(config.seed)
    if shares is None:
        shares = share_of_positives(stack_labels(rows))
    loss = build_loss(config.loss, shares, config.label_smoothing)
    scope, devices = use_all_devices()
    batches = RadiographBatches(
        rows,
        cache,
        config.batch_size,
        shuffled=True,
        augmented=config.augment,
        seed=config.seed,
        devices=devices,
        labels=soften(rows, config.history_share),
    )
    with scope:
        network = _build_network(config, facts, begin, begun=has_state(run))
        model = _compile(network, config, len(batches), loss, devices)
        history = load_state(run, model)
    if is_over(history, config):
        return
    selecting = RadiographBatches(validation, cache, config.batch_size) if validation else None
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: batches.begin_epoch(epoch)),
        Judge(config, network, loss, selecting, run, history),
        ProgressBar(name_fit(run), len(history), config.epochs, len(batches)),
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
    """Fit a network to the facts of the patients and return its weights.

    None where the config or the table has no facts, or where the fit that follows has begun.
    """
    facts = ask_facts(rows) if config.fact_epochs else ()
    if not facts or has_state(run):
        return None
    folder = run / FACTS
    folder.mkdir(exist_ok=True)
    fit(config_for_facts(config), facts, (), cache, folder)
    return folder / WEIGHTS


def _build_network(
    config: TrainConfig, facts: Path | None, begin: Path | None, *, begun: bool
) -> keras.Model:
    """Return a network to train from the weights `facts`, below the head, or `begin`, if there are.

    Where the fit has begun, its state replaces every weight.
    """
    given = facts or begin
    fetched = config if not (given or begun) else replace(config, pretrained="")
    network = build_network(fetched, config.precision)
    head = network.get_layer("head")
    fresh = head.get_weights()
    if given:
        network.load_weights(given)
    if facts:
        head.set_weights(fresh)
    return network


def _compile(
    network: keras.Model,
    config: TrainConfig,
    steps: int,
    loss: Callable[..., Any],
    devices: int,
) -> keras.Model:
    """Return the network's logits as a model that can be fitted; `steps` are those of an epoch."""
    _settle_norms(network, config.epochs * steps)
    model = keras.Model(network.input, network.output["logits"])
    # On two CPU cores XLA took 30 % longer per step than TensorFlow without it.
    compiled = "auto" if keras.backend.backend() == "jax" else False
    model.compile(_build_optimizer(config, steps, devices), loss, jit_compile=compiled)
    model.optimizer.build(model.trainable_variables)
    return model


def _settle_norms(network: keras.Model, steps: int) -> None:
    """Let the moving statistics of batch normalisation forget what they began with.

    Keras keeps some 100 batches: after 60 steps more than half would still be the initial 0 and 1,
    and the network that is measured another one than was trained.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _limit_memory(layer.momentum, steps)


def _limit_memory(momentum: float, steps: int) -> float:
    """Return a momentum with which a moving average is of the last tenth of `steps` at most."""
    return min(momentum, max(0.0, 1.0 - 10.0 / steps))


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
        ema_momentum=_limit_memory(config.ema_momentum, config.epochs * steps_per_epoch),
    )
    # Shrinking normalisation and biases does not regularise.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
