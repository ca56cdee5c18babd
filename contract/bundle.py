"""The model bundle: write its description, verify it, open it; refuse what does not match.

A bundle is a TensorFlow SavedModel directory with more files in `assets.extra/`, a place that
TensorFlow itself leaves to others: `bundle.json` (what the model is, and the SHA-256 of every other
file), `golden.npz` (inputs with the outputs that the exporter saw) and `card.md` (the same for
people). `openvino/` holds the same network in INT8, where that lost next to nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from contract.findings import FINDINGS
from contract.pixels import CONTRACT_VERSION
from contract.seal import DESCRIPTION, BundleError, check_seal, read_description, seal

# Adding INT8 did not raise this: bundles without it still open, and older programs open the others.
FORMAT_VERSION: Final = 1
GOLDEN: Final = "assets.extra/golden.npz"
CARD: Final = "assets.extra/card.md"
INT8: Final = "openvino/int8.xml"
"""OpenVINO's description of the INT8 network; its weights lie beside it as `int8.bin`."""

INT8_MAX_AUROC_FALL: Final = 0.002
"""By how much macro AUROC on validation may fall for the INT8 network to be kept and used."""

Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Golden:
    """Inputs uint8[N,S,S,1] and what the exporter saw of them, float32[N,14] each.

    `int8_probabilities` are those of the INT8 network, None in a bundle without one.
    """

    image: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]
    int8_probabilities: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk; `description` is the content of its bundle.json."""

    path: Path
    description: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.description["name"])

    @property
    def version(self) -> str:
        return str(self.description["version"])

    @property
    def digest(self) -> str:
        """SHA-256 over the whole description and, through it, over every file of the bundle."""
        return str(self.description["digest"])

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return int(self.description["input_size"])

    @cached_property
    def thresholds(self) -> tuple[float, ...]:
        """Per finding, the probability from which it is called positive."""
        return tuple(float(finding["threshold"]) for finding in self.description["findings"])

    @property
    def int8(self) -> Path | None:
        """The INT8 network, None in a bundle without one."""
        return self.path / INT8 if INT8 in self.description["files"] else None

    @property
    def preferred_precision(self) -> Precision:
        """`int8` where it is there and its recorded fall of macro AUROC is within the limit."""
        change = self.description["int8"]["macro_auroc_change"] if self.int8 else None
        within = change is not None and float(change) >= -INT8_MAX_AUROC_FALL
        return "int8" if within else "float32"

    def golden(self) -> Golden:
        """Read the golden examples; raises BundleError where they do not fit the bundle."""
        size, count = self.input_size, len(FINDINGS)
        try:
            with (
                (self.path / GOLDEN).open("rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                int8 = arrays["int8_probabilities"] if self.int8 else None
                golden = Golden(arrays["image"], arrays["probabilities"], arrays["logits"], int8)
        except Exception as error:  # zip and array readers raise whatever damage leads to
            raise BundleError(f"{GOLDEN} cannot be read: {error}") from error
        n = len(golden.image) if golden.image.ndim else 0
        if n == 0 or golden.image.shape != (n, size, size, 1) or golden.image.dtype != np.uint8:
            raise BundleError(f"{GOLDEN}: image is not uint8[N,{size},{size},1] with N > 0.")
        for outputs in (golden.probabilities, golden.logits, golden.int8_probabilities):
            if outputs is None:
                continue
            if outputs.shape != (n, count) or outputs.dtype != np.float32:
                raise BundleError(f"{GOLDEN}: the outputs are not float32[{n},{count}].")
        return golden


def seal_bundle(directory: Path, description: Mapping[str, Any]) -> str:
    """Seal a finished SavedModel directory with its description and return the bundle's digest.

    `description` lacks only what is computed here: `files` (path -> SHA-256) and `digest`.
    Raises BundleError where the sealed bundle would not open.
    """
    seal(directory, description)
    return open_bundle(directory).digest


def find_bundle(directory: Path) -> Path:
    """Return `directory` if it is a bundle, else its highest numbered version `directory/<n>`.

    Raises BundleError where neither holds a SavedModel.
    """
    try:
        directory.stat()
        if (directory / "saved_model.pb").is_file():
            return directory
    except OSError as error:
        raise BundleError(f"{directory}: {error.strerror}.") from error
    versions = list_versions(directory)
    if not versions:
        raise BundleError(
            f"{directory} holds no saved_model.pb and no numbered version of a model."
        )
    return versions[-1]


def list_versions(directory: Path) -> list[Path]:
    """Return what lies at `directory/<n>`, by rising number."""
    numbered = [path for path in directory.glob("[0-9]*") if path.name.isdecimal()]
    return sorted(numbered, key=lambda path: int(path.name))


def open_bundle(directory: Path) -> Bundle:
    """Verify every byte of a bundle and open it.

    Checks that no file is missing, surplus or changed, that the format, the pixel contract and the
    findings in their order are those of this program, and that every threshold is a probability.
    Raises BundleError that names what differs. The golden outputs are for the engine to replay.
    """
    try:
        description = read_description(directory)
        _check_contract(description)
        check_seal(directory, description)
        _check_parts(description)
        _check_int8(description)
    except BundleError as error:
        raise BundleError(f"{directory.name}: {error}") from error
    return Bundle(directory, description)


def _check_parts(description: Mapping[str, Any]) -> None:
    for needed in ("saved_model.pb", GOLDEN):
        if needed not in description["files"]:
            raise BundleError(f"{needed} is missing.")


def _check_int8(description: Mapping[str, Any]) -> None:
    """Demand weights and a judgement of an INT8 network; `null` says that it cannot be judged."""
    if INT8 not in description["files"]:
        return
    weights = INT8.replace(".xml", ".bin")
    if weights not in description["files"]:
        raise BundleError(f"{weights} is missing.")
    try:
        change = description["int8"]["macro_auroc_change"]
    except (KeyError, TypeError) as error:
        raise BundleError(f"{DESCRIPTION} does not say what INT8 changes: {error!r}.") from error
    if change is not None and not isinstance(change, (int, float)):
        raise BundleError(f"{DESCRIPTION}: int8.macro_auroc_change is {change!r}, no number.")


def _check_contract(description: Mapping[str, Any]) -> None:
    for key, ours in (("format_version", FORMAT_VERSION), ("contract_version", CONTRACT_VERSION)):
        if description.get(key) != ours:
            raise BundleError(f"{key} is {description.get(key)!r}; this program needs {ours}.")
    try:
        names = [str(finding["name"]) for finding in description["findings"]]
        thresholds = [float(finding["threshold"]) for finding in description["findings"]]
        for key in ("name", "version", "intended_use"):
            str(description[key])
        int(description["input_size"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(f"{DESCRIPTION} lacks a needed entry: {error!r}.") from error
    for place, (theirs, ours_) in enumerate(zip(names, FINDINGS, strict=False), start=1):
        if theirs != ours_:
            raise BundleError(f"finding {place} is {theirs!r}; this program needs {ours_!r}.")
    if len(names) != len(FINDINGS):
        raise BundleError(f"{len(names)} findings; this program needs {len(FINDINGS)}.")
    if not all(0.0 < threshold < 1.0 for threshold in thresholds):
        raise BundleError("a threshold lies outside the open interval from 0 to 1.")
