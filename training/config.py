"""Everything that decides a training run, in one frozen dataclass with named profiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args, get_type_hints

from training.errors import ConfigError
from training.losses import Loss

Backbone = Literal["small", "densenet121", "convnext_tiny"]
CONTRAST_GRID: Final = 16
"""Surroundings to a side of the image, from which `small` tells what is lighter or darker."""
DtypePolicy = Literal["float32", "mixed_bfloat16"]
PixelScaling = Literal["grey", "imagenet", "torchxrayvision"]

_LEAST_LARGE: Final = 32
"""Pixels to a side, of which `keras.applications` makes a map of one cell."""
_SEEDS: Final = 2**32
"""What numpy and Keras are seeded with lies below."""
_RANGES: Final = {
    **dict.fromkeys(("input_size", "epochs", "patience", "batch_size"), (1, math.inf)),
    "bootstrap_resamples": (1, math.inf),
    **dict.fromkeys(("fact_epochs", "refit_epochs", "warmup_epochs"), (0, math.inf)),
    **dict.fromkeys(("weight_decay", "clip_norm"), (0, math.inf)),
    **dict.fromkeys(("dropout", "ema_momentum", "label_smoothing", "history_share"), (0, 1)),
    "seed": (0, _SEEDS),
}
_INSIDE: Final = {"learning_rate": math.inf, "validation_share": 1, "test_share": 1}
"""What lies above 0 and below this."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Lengths of training in epochs, shares between 0 and 1, sizes in pixels."""

    input_size: int
    backbone: Backbone
    epochs: int = 40
    patience: int = 40
    """Epochs without a better validation AUROC after which training ends early."""
    fact_epochs: int = 0
    """Epochs before those, in which the network learns to tell view, sex and age of the patient;
    0 for none."""
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of each stage of `small`; each stage after the first halves the side."""
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    """Residual blocks of each stage of `small`."""
    local_contrast: bool = True
    """Whether `small` also sees what each point differs by from its surroundings."""
    pretrained: str = ""
    """"imagenet" (Keras downloads the weights), the path of a Keras weights file of the backbone
    without its top, or empty (from scratch); not for `small`."""
    pixel_scaling: PixelScaling = "imagenet"
    """ImageNet's in three channels or in one ("grey"), or one channel between -1024 and 1024; not
    for `small`."""
    dropout: float = 0.2
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    """Largest length of all gradients together; 0 for no limit."""
    ema_momentum: float = 0.99
    loss: Loss = "cross_entropy"
    label_smoothing: float = 0.0
    history_share: float = 0.0
    """By how much the labels of the patient's images shortly before and after count in what is
    learnt; 0 for not at all."""
    precision: DtypePolicy = "float32"
    augment: bool = True
    folds: int = 0
    """With 2 or more, as many networks are fitted, each without one fold of the patients, and
    answer together; with 0 it is one, and validation selects its epoch."""
    refit_epochs: int = 0
    """With folds, epochs of all patients that each network goes on with after it has answered for
    its fold; 0 for none."""
    validation_share: float = 0.15
    test_share: float = 0.2
    """Counts only where the data come without official lists."""
    bootstrap_resamples: int = 1000
    seed: int = 20

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is out of range or fields contradict each other."""
        self._check_ranges()
        self._check_lengths()
        if len(self.widths) != len(self.blocks) or min(self.widths + self.blocks) < 1:
            raise ConfigError("widths and blocks have one entry per stage each, of 1 and more.")
        if self.backbone == "small" and self.input_size % CONTRAST_GRID:
            raise ConfigError(f"input_size must be a multiple of {CONTRAST_GRID} for small.")
        if self.backbone != "small" and self.input_size < _LEAST_LARGE:
            raise ConfigError(f"input_size is at least {_LEAST_LARGE} for {self.backbone}.")
        if self.folds < 0 or self.folds == 1:
            raise ConfigError("folds is 0, or 2 and more.")
        if self.seed + self.folds > _SEEDS:  # each member has the next seed
            raise ConfigError(f"seed and folds together are at most {_SEEDS}.")
        if self.pretrained not in ("", "imagenet") and not self.pretrained.endswith(".h5"):
            raise ConfigError('pretrained is empty, "imagenet" or a Keras weights file, *.h5.')
        if self.pretrained and self.backbone == "small":
            raise ConfigError(
                "There are no pretrained weights for small; set pretrained= to train from scratch."
            )

    def _check_lengths(self) -> None:
        if self.epochs <= self.warmup_epochs:
            raise ConfigError(f"epochs ({self.epochs}) must exceed warmup_epochs.")
        for name in ("fact_epochs", "refit_epochs") if self.folds else ("fact_epochs",):
            epochs = getattr(self, name)
            if 0 < epochs <= self.warmup_epochs:
                raise ConfigError(f"{name} ({epochs}) is 0 or exceeds warmup_epochs.")

    def _check_ranges(self) -> None:
        for name, (least, below) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value < below:
                upper = "" if below == math.inf else f" and below {below}"
                raise ConfigError(f"{name} is at least {least}{upper}, not {value}.")
        for name, below in _INSIDE.items():
            value = getattr(self, name)
            if not 0 < value < below:
                upper = "" if below == math.inf else f" and below {below}"
                raise ConfigError(f"{name} is above 0{upper}, not {value}.")


_LARGE: Final = TrainConfig(
    input_size=224,
    backbone="densenet121",
    epochs=15,
    pretrained="imagenet",
    warmup_epochs=1.0,
    ema_momentum=0.999,
    validation_share=0.1,
)
PROFILES: Final[dict[str, TrainConfig]] = {
    "demo": TrainConfig(
        input_size=192,
        backbone="small",
        fact_epochs=20,
        epochs=40,
        folds=4,
        refit_epochs=15,
        widths=(20, 48, 96, 128),
        blocks=(1, 1, 2, 2),
        dropout=0.3,
        weight_decay=5e-2,
        history_share=0.5,
        precision="mixed_bfloat16",
    ),
    "smoke": TrainConfig(
        input_size=64,
        backbone="small",
        epochs=10,
        widths=(8, 16, 32),
        blocks=(1, 1, 1),
        dropout=0.0,
        learning_rate=5e-3,
        warmup_epochs=0.5,
        ema_momentum=0.8,
        validation_share=0.25,
        bootstrap_resamples=50,
    ),
    # CheXNet's network and size (Rajpurkar et al., 2017).
    "densenet121": replace(_LARGE, pixel_scaling="grey", learning_rate=3e-4),
    # Liu et al., CVPR 2022: a transformer's shape built of convolutions; larger steps harm it.
    "convnext": replace(_LARGE, backbone="convnext_tiny", learning_rate=1e-4, weight_decay=5e-2),
}


def read_config(profile: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return a profile with `field=value` overrides applied.

    Raises ConfigError for an unknown profile, an unknown field or a value that is not of its type.
    """
    if profile not in PROFILES:
        raise ConfigError(f"No profile {profile!r}; there are {', '.join(PROFILES)}.")
    return replace(PROFILES[profile], **dict(map(_parse_override, overrides)))


def config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """Rebuild a config from `dataclasses.asdict` that went through JSON.

    Raises ConfigError for fields that this code does not have.
    """
    unknown = values.keys() - {field.name for field in fields(TrainConfig)}
    if unknown:
        raise ConfigError(f"The config has fields this code does not know: {sorted(unknown)}.")
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return TrainConfig(**{**values, **lists})


def _parse_override(override: str) -> tuple[str, Any]:
    name, separator, text = override.partition("=")
    types = get_type_hints(TrainConfig)
    if not separator or name not in types:
        raise ConfigError(
            f"{override!r} is not FIELD=VALUE with a field of the config: {', '.join(types)}."
        )
    try:
        return name, _parse_value(types[name], text)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be {text!r}: {error}") from None


def _parse_value(kind: Any, text: str) -> Any:
    if kind is bool:
        return _choose(text, ("true", "false")) == "true"
    if kind in (int, float, str):
        return kind(text)
    if kind == tuple[int, ...]:
        return tuple(int(part) for part in text.split(","))
    return _choose(text, get_args(kind))


def _choose(text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise ValueError(f"it is one of {', '.join(map(repr, choices))}")
    return text
