"""Export: in float32 without data, of the run's own data only, with a card that says it all."""

import dataclasses
import json
from pathlib import Path

import pytest

from contract.bundle import open_bundle
from tests.training.conftest import SmokeRun
from training.errors import DataError


def test_export_without_data_is_in_float32_only(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.export import export_bundle

    bundle = open_bundle(export_bundle(smoke.run, tmp_path / "model"))
    assert bundle.int8 is None
    assert bundle.preferred_precision == "float32"
    assert "float32 only" in (bundle.path / "assets.extra" / "card.md").read_text()


def test_export_with_other_data_than_the_run_is_refused(smoke: SmokeRun, tmp_path: Path) -> None:
    from training.export import export_bundle

    split = dataclasses.replace(smoke.data.split, test=smoke.data.split.test[1:])
    other = dataclasses.replace(smoke.data, split=split)
    with pytest.raises(DataError, match="another split than the run"):
        export_bundle(smoke.run, tmp_path / "model", other, smoke.cache)
    assert not (tmp_path / "model").exists()


def test_card_holds_every_figure_that_a_reader_needs(smoke: SmokeRun) -> None:
    card = (smoke.bundle / "assets.extra" / "card.md").read_text()
    said = open_bundle(smoke.bundle).description
    report = json.loads((smoke.run / "report.json").read_text())["test"]
    assert said["intended_use"] in card
    for finding in said["findings"]:
        assert f"| {finding['name']} |" in card
        assert f"{finding['threshold']:.3f}" in card
    assert f"{report['macro_auroc']:.3f}" in card
    assert f"{report['ece']:.3f} on test" in card
    assert f"{said['calibration']['cross_validation']['ece']:.3f}; perfect" in card
    assert "only 0 of one class" in card
    assert f"{said['int8']['macro_auroc_change']:+.4f}" in card
    low, high = said["int8"]["macro_auroc_change_ci"]
    assert f"(95 % interval {low:+.4f} to {high:+.4f})" in card
    assert len(card.split()) < 900
