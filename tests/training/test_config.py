import json
from dataclasses import asdict

import pytest

from training.config import PROFILES, config_from_dict, read_config
from training.errors import ConfigError


def test_override_takes_the_type_of_its_field() -> None:
    config = read_config(
        "demo", ["epochs=3", "learning_rate=1e-4", "blocks=1,2,3,4", "augment=false"]
    )
    assert (config.epochs, config.learning_rate) == (3, 1e-4)
    assert (config.blocks, config.augment) == ((1, 2, 3, 4), False)


TYPOS = ["epoch=3", "epochs", "epochs=three", "augment=no", "backbone=resnet", "loss=hinge"]
CONTRADICTIONS = ["epochs=1", "widths=8,16", "widths=8,0,8,8", "blocks=1,0,1,1", "pretrained=cifar"]
CONTRADICTIONS += ["fact_epochs=2", "refit_epochs=2"]


@pytest.mark.parametrize("override", [*TYPOS, *CONTRADICTIONS])
def test_typo_or_contradiction_in_an_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        read_config("demo", [override])


@pytest.mark.parametrize(
    "override",
    [
        "batch_size=0",
        "input_size=0",
        "bootstrap_resamples=0",
        "patience=0",
        "seed=-1",
        "seed=4294967296",
        "clip_norm=-1",
        "clip_norm=inf",
        "weight_decay=inf",
        "learning_rate=0",
        "learning_rate=nan",
        "learning_rate=inf",
        "dropout=1.5",
        "ema_momentum=1",
        "fact_epochs=-1",
        "refit_epochs=-1",
        "label_smoothing=-0.1",
        "validation_share=0",
    ],
)
def test_value_out_of_range_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        read_config("densenet121", [override])


def test_going_on_contradicts_nothing_where_there_are_no_folds_to_go_on_from() -> None:
    assert read_config("demo", ["folds=0", "refit_epochs=2"]).refit_epochs == 2


def test_range_without_an_end_is_told_without_one() -> None:
    with pytest.raises(ConfigError, match="epochs is at least 1, not 0"):
        read_config("demo", ["epochs=0"])
    with pytest.raises(ConfigError, match="dropout is at least 0 and below 1, not 2"):
        read_config("demo", ["dropout=2"])


def test_every_member_of_a_fold_has_a_seed_that_numpy_takes() -> None:
    assert read_config("demo", ["folds=4", "seed=4294967292"]).folds == 4
    with pytest.raises(ConfigError, match="seed and folds together are at most 4294967296"):
        read_config("demo", ["folds=4", "seed=4294967293"])


@pytest.mark.parametrize("profile", ["densenet121", "convnext"])
def test_image_too_small_for_a_large_backbone_is_refused(profile: str) -> None:
    with pytest.raises(ConfigError, match="input_size is at least 32 for"):
        read_config(profile, ["pretrained=", "input_size=16"])


def test_unknown_profile_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="demo, smoke, densenet121, convnext"):
        read_config("dem")


@pytest.mark.parametrize("config", PROFILES.values(), ids=PROFILES)
def test_every_profile_survives_json(config: object) -> None:
    assert config_from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_config_of_other_code_is_refused() -> None:
    with pytest.raises(ConfigError, match="mixup"):
        config_from_dict({**asdict(read_config("demo")), "mixup": 0.2})
