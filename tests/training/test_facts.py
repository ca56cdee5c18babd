"""Networks that begin by telling view, sex and age of the patient."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from contract.findings import FINDINGS
from tests.training.conftest import BareRun, SmokeRun
from training.config import read_config
from training.errors import ConfigError
from training.facts import ask_facts, config_for_facts, without_untold_facts
from training.progress import FACTS
from training.table import Row

NONE = (0,) * len(FINDINGS)


def test_facts_asked_for_are_view_sex_and_which_ages_are_exceeded() -> None:
    child = Row("a", "1", NONE, age=6, sex="F", view="AP")
    man = Row("b", "2", (1,) * len(FINDINGS), age=50, sex="M", view="PA")
    old = Row("c", "3", NONE, age=81, sex="F", view="PA")
    asked = ask_facts([child, man, old])
    assert [row.image for row in asked] == ["a", "b", "c"]
    assert [row.labels[:2] for row in asked] == [(0, 1), (1, 0), (1, 1)]
    assert [row.labels[2:] for row in asked] == [(0,) * 12, (1,) * 6 + (0,) * 6, (1,) * 12]


def test_facts_are_understood_however_they_are_written() -> None:
    written = Row("a", "1", NONE, age=50, sex="Female", view="pa")
    short = Row("a", "1", NONE, age=50, sex="F", view="PA")
    assert ask_facts([written])[0].labels == ask_facts([short])[0].labels
    lateral, other = dataclasses.replace(short, view="LL"), dataclasses.replace(short, sex="O")
    assert ask_facts([lateral, other]) == ()


def test_facts_that_few_images_tell_are_left_out_with_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = read_config("demo")
    told, untold = Row("a", "1", NONE, age=50, sex="F", view="PA"), Row("b", "2", NONE)
    assert without_untold_facts(config, [told, untold]) == config
    assert capsys.readouterr().out == ""
    assert without_untold_facts(config, [told, untold, untold]).fact_epochs == 0
    assert "1 of 3 images tell view, sex and age, too few" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["age", "sex", "view"])
def test_row_that_leaves_a_fact_open_is_not_asked(missing: str) -> None:
    newborn = Row("a", "1", NONE, age=0, sex="F", view="AP")
    assert len(ask_facts([newborn])) == 1
    assert ask_facts([dataclasses.replace(newborn, **{missing: None})]) == ()


def test_facts_are_learnt_by_plain_cross_entropy_in_epochs_of_their_own() -> None:
    config = read_config("smoke", ["fact_epochs=3", "loss=weighted", "label_smoothing=0.1"])
    asked = config_for_facts(config)
    assert (asked.epochs, asked.fact_epochs) == (3, 0)
    assert (asked.loss, asked.label_smoothing) == ("cross_entropy", 0.0)
    assert (asked.seed, asked.learning_rate) == (config.seed, config.learning_rate)


@pytest.mark.parametrize("epochs", [-1, 1])
def test_epochs_too_few_to_warm_up_are_refused(epochs: int) -> None:
    with pytest.raises(ConfigError, match="fact_epochs"):
        read_config("smoke", ["warmup_epochs=1", f"fact_epochs={epochs}"])


def test_fit_to_findings_begins_with_all_weights_of_that_to_facts_but_the_heads(
    smoke: SmokeRun, tmp_path: Path
) -> None:
    from training.fit import fit, load_best

    rows = [
        dataclasses.replace(row, age=20 + n, sex="MF"[n % 2], view=("AP", "PA")[n % 2])
        for n, row in enumerate(smoke.data.split.train[:32])
    ]
    changes = {"fact_epochs": 2, "epochs": 1, "dropout": 0.0}
    config = dataclasses.replace(smoke.config, **changes)
    told = tmp_path / FACTS
    told.mkdir()
    fit(config_for_facts(config), ask_facts(rows), (), smoke.cache, told)
    still = dataclasses.replace(config, learning_rate=1e-9)
    fit(still, rows, (), smoke.cache, tmp_path)
    before, after = load_best(config, told), load_best(config, tmp_path)
    for theirs, ours in zip(before.trainable_weights, after.trainable_weights, strict=True):
        same = np.allclose(theirs.numpy(), ours.numpy(), atol=1e-6)
        assert same != ("head" in ours.path), ours.path


def test_table_without_facts_trains_all_the_same_and_says_so(bare: BareRun) -> None:
    assert "0 of 96 images tell view, sex and age, too few" in bare.printed
    assert "view, sex" not in (bare.bundle / "assets.extra" / "card.md").read_text()
    assert not list(bare.run.rglob("facts"))
