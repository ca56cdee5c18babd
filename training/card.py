"""The model card: what a bundle is, on one page for people."""

from collections.abc import Mapping
from typing import Any

from training.evaluate import digits
from training.patients import MIN_PATIENTS
from training.subgroups import MEANS_NOTE

_HEAD = "| finding | AUROC | AUPRC | positives | threshold | sensitivity | specificity |"


def write_card(description: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Return the card as Markdown, from a bundle's description and the report of its run."""
    sections = (
        f"# {description['name']}, version {description['version']}\n",
        _introduce(description),
        _describe_data(description),
        _describe_figures(description, report["test"]),
        _describe_calibration(description, report["test"]),
        _describe_subgroups(report["test"]),
        _describe_int8(description),
        _describe_limits(description),
    )
    return "\n".join(section for section in sections if section)


def _introduce(description: Mapping[str, Any]) -> str:
    size = description["input_size"]
    return (
        f"**{description['intended_use']}**\n\n"
        f"Gives the probabilities of {len(description['findings'])} findings for one frontal chest "
        f"radiograph, reduced to {size} x {size} grey pixels. "
        f"{_describe_fit(description)}; made on {description['date']} by code "
        f"{description['code_commit'][:12]}. `bundle.json` beside this page holds the whole recipe "
        "and every figure.\n"
    )


def _describe_fit(description: Mapping[str, Any]) -> str:
    recipe, seed = description["recipe"], description["seed"]
    name = recipe["backbone"]
    if "weights" in description:
        return f"Network `{name}`, with weights of others ({description['weights']['kind']})"
    epochs, folds = f"{recipe['epochs']} epochs", recipe["folds"]
    begin = f"started from {recipe['pretrained']}" if recipe["pretrained"] else "from scratch"
    if recipe.get("fact_epochs"):
        begin += f", {recipe['fact_epochs']} epochs to tell view, sex and age"
        epochs += " on findings"
    if recipe.get("history_share"):
        epochs += ", labels softened by those of the patient's images before and after"
    if not folds:
        return f"Network `{name}`, {begin}, at most {epochs}, seed {seed}"
    if recipe.get("refit_epochs"):
        epochs += f", then {recipe['refit_epochs']} epochs on all patients"
    return (
        f"Averages {folds} networks `{name}`, each fitted without one of {folds} folds of the "
        f"patients, {begin}, {epochs}, seeds {seed} to {seed + folds - 1}"
    )


def _describe_data(description: Mapping[str, Any]) -> str:
    data = description["training_data"]
    if "judged_on" in description:
        here = description["judged_on"]
        return (
            f"## Data\n\nTrained by others on {data['dataset']}. Calibrated on "
            f"{here['validation']['images']:,} and tested on {here['test']['images']:,} images of "
            f"{here['dataset']}, labels {here['label_version']}; split: {data['split']}.\n"
        )
    told = f", softened by those in {data['neighbours']}" if "neighbours" in data else ""
    return (
        "## Data\n\n"
        f"Trained on {data['images']:,} images of {data['patients']:,} patients of "
        f"{data['dataset']}, labels {data['label_version']}{told}; split: {data['split']}. Such "
        "labels are commonly read out of reports by a program, so some are wrong, and so are some "
        "of the figures below.\n"
    )


def _describe_figures(description: Mapping[str, Any], tested: Mapping[str, Any]) -> str:
    measured = {finding["name"]: finding for finding in tested["findings"]}
    rows = "\n".join(
        f"| {finding['name']} | {_measure(finding['auroc'], finding['auroc_ci'])} "
        f"| {_measure(finding['auprc'], finding['auprc_ci'])} | {finding['positives']} "
        f"| {finding['threshold']:.3f} | {digits(measured[finding['name']]['sensitivity'])} "
        f"| {digits(measured[finding['name']]['specificity'])} |"
        for finding in description["findings"]
    )
    rules = sorted({finding["threshold_rule"] for finding in description["findings"]})
    macro = _measure(tested["macro_auroc"], tested["macro_auroc_ci"])
    unseen = "" if "weights" in description else " whom training never saw"
    held_out = _name_held_out(description["calibration"])
    return (
        "## Figures\n\n"
        f"On {tested['images']} test images of {tested['patients']} patients{unseen}, with 95 % "
        f"intervals over patients, none from fewer than {MIN_PATIENTS} patients with a finding or "
        f"without it. Mean AUROC {macro}.\n\n"
        f"{_HEAD}\n|---|---|---|---|---|---|---|\n{rows}\n\n"
        f"Thresholds were chosen on {held_out} ({'; '.join(rules)}): cut-offs to begin with, not "
        "operating points for a clinic.\n"
    )


def _name_held_out(calibration: Mapping[str, Any]) -> str:
    split = str(calibration["split"])
    return f"answers {split}" if split.startswith("out of") else split


def _describe_calibration(description: Mapping[str, Any], tested: Mapping[str, Any]) -> str:
    calibration = description["calibration"]
    text = (
        f"{calibration['method']}, fitted on {_name_held_out(calibration)}. Expected calibration "
        f"error, mean over the findings: {digits(calibration['ece_before'])} on these images "
        f"before and {digits(calibration['ece_after'])} after it, {digits(tested['ece'])} on "
        "test. Where findings are more frequent than in the data it was fitted on, probabilities "
        "are too low; where they are rarer, too high."
    )
    crossed = calibration.get("cross_validation")
    if crossed:
        text += (
            f" By cross-validation over {crossed['patients']} patients in {crossed['folds']} folds "
            f"it is {digits(crossed['ece'])}; perfect calibration would show "
            f"{digits(crossed['ece_if_perfect'])} on as many images, by chance alone."
        )
    if description["recipe"].get("folds") and description["recipe"].get("refit_epochs"):
        text += " All but the error on test is of networks before they learnt from all patients."
    exceptions = [f"{name}: {method}." for name, method in calibration["exceptions"].items()]
    return "\n".join(["## Calibration\n", text, *exceptions, ""])


def _describe_subgroups(tested: Mapping[str, Any]) -> str:
    groups = tested.get("subgroups", {})
    if not any(groups.values()):
        return ""
    rows = "\n".join(
        f"| {kind}: {group['group']} | {group['images']} "
        f"| {_measure(group['macro_auroc'], group['macro_auroc_ci'])} "
        f"| {group['findings_measured']} |"
        for kind, members in groups.items()
        for group in members
    )
    head = "| group | images | mean AUROC | over findings |\n|---|---|---|---|"
    return f"## Subgroups\n\n{head}\n{rows}\n\n{MEANS_NOTE}\n"


def _describe_int8(description: Mapping[str, Any]) -> str:
    int8, recipe = description.get("int8"), description["recipe"]
    if not int8:
        return "## INT8\n\nNot quantised: this bundle answers in float32 only.\n"
    judged, tested = (int8["measured"][name] for name in ("validation", "test"))
    learnt = f" (which {count_knowing(recipe)} networks learnt from)" if recipe.get("folds") else ""
    return (
        f"## INT8\n\nQuantised after training with {int8['calibration_images']} validation images: "
        f"mean AUROC on validation{learnt} {_tell_change(judged)}, probabilities by "
        f"{judged['mean_probability_difference']:.4f} on average and "
        f"{judged['largest_probability_difference']:.3f} at most; on test mean AUROC "
        f"{_tell_change(tested)}. "
        f"{'Kept' if int8['kept'] else 'Left out'}: a fall of "
        f"{int8['macro_auroc_fall_limit']} is allowed.\n"
    )


def count_knowing(recipe: Mapping[str, Any]) -> str:
    """Say how many networks of a recipe with folds learnt from each image, but those of test."""
    folds = recipe["folds"]
    return f"all {folds}" if recipe.get("refit_epochs") else f"{folds - 1} of {folds}"


def _tell_change(judged: Mapping[str, Any]) -> str:
    change, bounds = judged["macro_auroc_change"], judged["macro_auroc_change_ci"]
    if change is None:
        return "cannot be told"
    told = f"changes by {change:+z.4f}"
    if bounds is None:
        return f"{told} (too few patients of some finding for an interval)"
    return f"{told} (95 % interval {bounds[0]:+z.4f} to {bounds[1]:+z.4f})"


def _describe_limits(description: Mapping[str, Any]) -> str:
    few = [f["name"] for f in description["findings"] if f["positives"] < 30]
    named = f" Fewer than 30 positives to test on: {', '.join(few)}." if few else ""
    return (
        "## Limits\n\n"
        "Frontal views of the chest only; other hospitals, devices and ages than those of the "
        "data were not tested, nor any use beside a reader. A probability below its threshold "
        "does not exclude a finding, and findings outside this list are not looked for. Activation "
        f"maps show where evidence is strongest; they outline no lesion.{named}\n"
    )


def _measure(value: float | None, bounds: list[float] | None) -> str:
    if value is None or bounds is None:
        return digits(value)
    return f"{value:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})"
