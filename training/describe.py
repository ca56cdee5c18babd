"""What a bundle says about itself, from the files of its run."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from contract.bundle import FORMAT_VERSION
from training.calibrate import Scaling

_FEW_IMAGES: Final = 10_000
"""A network from fewer shows that everything works; those worth deploying learnt from far more."""

_MEASURES: Final = ("auroc", "auroc_ci", "auprc", "auprc_ci", "positives")


def describe(
    name: str,
    version: str,
    record: Mapping[str, Any],
    scalings: Sequence[Scaling],
    calibration: Mapping[str, Any],
    report: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of bundle.json but for the hashes, which sealing adds."""
    config, data = record["config"], record["data"]
    learnt = _count_learnt(config, data["sets"])
    held_out = calibration["split"]
    described = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "version": version,
        "findings": _describe_findings(scalings, held_out, report["test"]),
        "input_size": config["input_size"],
        "contract_version": record["contract_version"],
        "calibration": calibration,
        "macro_auroc": {
            held_out: report["validation"]["macro_auroc"],
            "test": report["test"]["macro_auroc"],
        },
        "training_data": {
            "dataset": data["dataset"],
            "label_version": data["label_version"],
            **({"neighbours": data["neighbours"]} if "neighbours" in data else {}),
            "images": learnt["images"],
            "patients": learnt["patients"],
            "split": data["split"],
            "split_sha256": data["split_sha256"],
        },
        "recipe": config,
        "code_commit": record["code_commit"],
        "seed": config["seed"],
        "date": record["date"],
        "intended_use": (
            "Research and demonstration. Not a medical device, not for diagnosis or for any "
            f"decision about a patient. {_say_what_it_is(learnt['images'])}"
        ),
    }
    origin = record.get("weights")
    return described | _describe_imported(origin, data) if origin else described


def _say_what_it_is(images: int) -> str:
    if images < _FEW_IMAGES:
        return f"A demonstration trained on {images:,} images, not the one to deploy."
    return f"Trained on {images:,} images."


def _count_learnt(config: Mapping[str, Any], sets: Mapping[str, Any]) -> dict[str, int]:
    names = ("train", "validation") if config.get("folds") else ("train",)
    return {what: sum(sets[name][what] for name in names) for what in ("images", "patients")}


def _describe_findings(
    scalings: Sequence[Scaling], held_out: str, tested: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [
        {
            "name": scaling.finding,
            "threshold": scaling.threshold,
            "threshold_rule": scaling.threshold_rule,
            "threshold_source": f"{held_out}, {scaling.positives} positives",
            **{measure: measured[measure] for measure in _MEASURES},
            "images": tested["images"],
            "split": "test",
        }
        for scaling, measured in zip(scalings, tested["findings"], strict=True)
    ]


def _describe_imported(origin: Mapping[str, str], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of bundle.json that differ where the weights are imported.

    `data` is that of the run's record: what the weights were calibrated and tested on here.
    """
    judged = data["sets"]
    return {
        "weights": dict(origin),
        "training_data": {
            "dataset": origin["trained_on"],
            "label_version": None,
            "images": None,
            "patients": None,
            "split": f"of {data['dataset']}, for calibration and test only: {data['split']}",
            "split_sha256": data["split_sha256"],
        },
        "judged_on": {
            "dataset": data["dataset"],
            "label_version": data["label_version"],
            **{
                part: {"images": judged[part]["images"], "patients": judged[part]["patients"]}
                for part in ("validation", "test")
            },
        },
        "intended_use": (
            "Research and demonstration. Not a medical device, not for diagnosis or for any "
            f"decision about a patient. Weights of others ({origin['kind']}), trained on "
            f"{origin['trained_on']}; calibrated on {judged['validation']['images']} images of "
            f"{data['dataset']} and tested on {judged['test']['images']}. Images that the weights "
            "were trained on may be among them; then the test is optimistic."
        ),
    }
