"""What a report tells, section by section, in HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from training.evaluate import digits
from training.figures import to_uri
from training.overlays import Overlay
from training.patients import MIN_PATIENTS
from training.subgroups import MEANS_NOTE

_NOTES: Final = {
    "AUROC": "",
    "ROC curves": "Bold: AUROC. Marks: operating points.",
    "Precision and recall": "Bold: AUPRC. Dashed: frequency of the finding in this set.",
    "Reliability": "Ten bins of equal count, each axis scaled to its finding. On the dashed line "
    "probability equals frequency; bars are 95 % intervals over patients.",
}


def build_body(
    about: Mapping[str, str],
    report: Mapping[str, Any],
    figures: Mapping[str, str],
    overlays: Sequence[Overlay],
) -> str:
    """Return all sections of one set's report; `figures` is title -> address of the image."""
    return "".join(
        [
            _tell_about(about, report),
            *[_show_figure(name, uri) for name, uri in figures.items()],
            _tell_findings(report),
            _tell_points(report),
            _tell_subgroups(report),
            _tell_localisation(report.get("localisation")),
            _show_overlays(overlays),
        ]
    )


def _tell_about(about: Mapping[str, str], report: Mapping[str, Any]) -> str:
    facts = {
        **about,
        "images": f"{report['images']} of {report['patients']} patients",
        "mean AUROC": _with_interval(report, "macro_auroc"),
        "mean AUPRC": _with_interval(report, "macro_auprc"),
        "calibration": f"mean ECE {report['ece']:.3f}, Brier score {report['brier']:.3f}",
        "intervals": f"95 %, from {report['resamples']} resamples of patients; none from fewer "
        f"than {MIN_PATIENTS} patients with a finding or without it",
    }
    lines = [[name, value] for name, value in facts.items()]
    return (
        '<p class="warning">For research and evaluation. Not a medical device. Radiographs may be '
        "shown below; treat this file as you treat them.</p>" + _table((), lines, "facts")
    )


def _show_figure(title: str, uri: str) -> str:
    note = f'<p class="note">{escape(_NOTES[title])}</p>' if _NOTES[title] else ""
    # Shrunk to a telephone's width its letters could not be read; so it scrolls, as wide tables do.
    image = f'<img src="{uri}" alt="{escape(title)} of every finding">'
    return f'<h2>{escape(title)}</h2>{note}<div class="wide" tabindex="0">{image}</div>'


def _tell_findings(report: Mapping[str, Any]) -> str:
    lines = [
        [
            one["name"],
            str(one["positives"]),
            _with_interval(one, "auroc"),
            _with_interval(one, "auprc"),
            f"{one['ece']:.3f}",
            f"{one['brier']:.3f}",
            f"{one['threshold']:.3f}",
            digits(one["sensitivity"]),
            digits(one["specificity"]),
        ]
        for one in report["findings"]
    ]
    header = "finding,positives,AUROC,AUPRC,ECE,Brier,threshold,sensitivity,specificity"
    return "<h2>Findings</h2>" + _table(header.split(","), lines)


def _tell_points(report: Mapping[str, Any]) -> str:
    lines = [
        [
            one["name"],
            point["rule"],
            f"{point['threshold']:.3f}",
            *[_with_interval(point, name) for name in ("sensitivity", "specificity")],
            f"{point['prevalence']:.3f}",
            *[_with_interval(point, name) for name in ("ppv", "npv")],
        ]
        for one in report["findings"]
        for point in one["operating_points"]
    ]
    header = "finding,rule,threshold,sensitivity,specificity,prevalence,PPV,NPV".split(",")
    note = f"Thresholds chosen on {report.get('points_chosen_on', 'validation')}. PPV and NPV at "
    note += f"the stated prevalence: {report.get('prevalence_source', 'of this set')}."
    return f'<h2>Operating points</h2><p class="note">{escape(note)}</p>' + _table(header, lines)


def _tell_subgroups(report: Mapping[str, Any]) -> str:
    groups = [group for groups in report["subgroups"].values() for group in groups]
    if not groups:
        return '<h2>Subgroups</h2><p class="note">The table tells no age, sex or view.</p>'
    named = [f"{name} {g['group']}" for name, them in report["subgroups"].items() for g in them]
    lines = [
        [
            name,
            str(group["images"]),
            str(group["patients"]),
            _with_interval(group, "macro_auroc"),
            str(group["findings_measured"]),
        ]
        for name, group in zip(named, groups, strict=True)
    ]
    header = ["group", "images", "patients", "mean AUROC", "over findings"]
    by_finding = [
        [one["name"], *[digits(group["findings"][f]["auroc"]) for group in groups]]
        for f, one in enumerate(report["findings"])
    ]
    note = f"{MEANS_NOTE} report.json has every interval."
    return (
        f'<h2>Subgroups</h2><p class="note">{note}</p>'
        + _table(header, lines)
        + "<h3>AUROC of each finding</h3>"
        + _table(["finding", *named], by_finding)
    )


def _tell_localisation(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return ""
    overlaps = list(measured["findings"][0]["iou_above"])
    lines = [
        [
            one["name"],
            str(one["maps"]),
            _with_interval(one, "pointing_game"),
            digits(one["chance"]),
            _with_interval(one, "iou"),
            *[digits(one["iou_above"][overlap]) for overlap in overlaps],
        ]
        for one in measured["findings"]
    ]
    header = ["finding", "maps", "pointing game", "chance", "mean IoU"]
    note = (
        f"{measured['images']} images with boxes. Pointing game: the map's highest point lies in a "
        "box; chance: the boxes' share of the image. IoU of the boxes with the part of the map "
        f"above {measured['map_level']:.0%} of its range."
    )
    return f'<h2>Localisation</h2><p class="note">{note}</p>' + _table(
        [*header, *[f"IoU ≥ {overlap}" for overlap in overlaps]], lines
    )


def _show_overlays(overlays: Sequence[Overlay]) -> str:
    sections = []
    for true, title in ((True, "True positives"), (False, "False positives")):
        figures = "".join(
            f'<figure><img src="{to_uri(one.png, "image/png")}" alt="{escape(one.finding)}">'
            f"<figcaption>{escape(one.finding)} {one.probability:.3f}<br>"
            f'<span class="note">{escape(one.image)}</span></figcaption></figure>'
            for one in overlays
            if one.true == true
        )
        if figures:
            sections.append(f'<h3>{title}</h3><div class="calls">{figures}</div>')
    if not sections:
        return ""
    note = (
        "The surest calls: of each image its highest finding. Orange: the map's upper half; blue: "
    )
    note += "a radiologist's box of that finding."
    return f'<h2>Activation maps</h2><p class="note">{note}</p>' + "".join(sections)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]], kind: str = "figures") -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )
    table = f'<table class="{kind}"><tr>{head}</tr>{body}</table>'
    # Focusable, so that the keyboard scrolls it too.
    return f'<div class="wide" tabindex="0">{table}</div>'


def _with_interval(values: Mapping[str, Any], name: str) -> str:
    bounds = values[f"{name}_ci"]
    interval = f" ({bounds[0]:.3f} \u2013 {bounds[1]:.3f})" if bounds else ""
    return digits(values[name]) + interval
