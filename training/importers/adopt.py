"""Published weights -> a run that was never fitted -> a bundle."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import keras

from training.chain import judge
from training.config import TrainConfig
from training.data import DataFolder
from training.devices import describe_hardware
from training.epoch import WEIGHTS
from training.errors import ConfigError
from training.export import export_bundle
from training.importers.densenet import KerasWeights
from training.importers.published import INPUT_SIZE, Kind
from training.network import build_network
from training.prepare import Cache
from training.record import RECORD, read_json, write_json, write_record

IN_EFFECT: Final = (
    *("input_size", "backbone", "pixel_scaling"),
    *("validation_share", "test_share", "bootstrap_resamples", "seed"),
)
"""What of a config holds for weights that others fitted: the network and how it is judged."""


def import_config(config: TrainConfig, kind: Kind) -> TrainConfig:
    """Return `config` with the network that weights of a kind fit."""
    return replace(
        config,
        input_size=INPUT_SIZE,
        backbone="densenet121",
        pretrained="",
        pixel_scaling=kind.scaling,
    )


def adopt(
    weights: KerasWeights,
    origin: dict[str, str],
    config: TrainConfig,
    data: DataFolder,
    cache: Cache,
    run: Path,
    model: Path,
) -> Path:
    """Calibrate on validation, evaluate on test, export in float32 and INT8; return `model/<n>`.

    `config` is that of `import_config`; `origin` says where the weights come from and goes into
    run and bundle. Everything but the bundle goes into the new folder `run`. Raises FileExistsError
    where it is there already, ConfigError under a Keras backend other than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError("Import runs on TensorFlow: set KERAS_BACKEND=tensorflow.")
    network = fill_network(weights, config)
    run.mkdir(parents=True)
    network.save_weights(run / WEIGHTS)
    write_record(run, config, data, keras.backend.backend(), describe_hardware(), sys.argv[1:])
    recipe = {name: value for name, value in asdict(config).items() if name in IN_EFFECT}
    write_json(run / RECORD, {**read_json(run / RECORD), "config": recipe, "weights": origin})
    judge(config, data, cache, run)
    return export_bundle(run, model, data, cache)


def fill_network(weights: KerasWeights, config: TrainConfig) -> keras.Model:
    """Return the network of `config` with `weights`, which must be those of all its layers."""
    network = build_network(config)
    weighted = {layer.name: layer for layer in network.layers if layer.weights}
    if weighted.keys() != weights.keys():
        raise ConfigError("The network has other layers than the weights; this is a defect.")
    for name, layer in weighted.items():
        layer.set_weights(weights[name])
    return network
