"""The grey pipeline of DICOM: stored values -> modality -> VOI -> presentation, each applied once.

Everything is computed on a table of the 256 or 65,536 possible stored values and then looked up, so
the cost of the arithmetic does not grow with the image (PS3.3, C.7.6.3, C.11.1 and C.11.2).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from contract.errors import DamagedFile, InputWarning
from contract.limits import Pixels
from contract.lookup import Values, look_up, lut_item
from contract.stored import stored_values

Mask = NDArray[np.bool_]

_BEYOND_REASON: Final = 1e300  # differences of values below it are still finite


def to_p_values(samples: Pixels, dataset: Dataset, warnings: list[InputWarning]) -> Pixels:
    """Turn stored samples [H,W] into P-Values (PS3.14), larger is brighter.

    Returns uint8[H,W] where the file stores at most 8 bits, else uint16[H,W] with 65535 as white.
    Padding becomes black and takes no part in the value range. Raises DamagedFile for tables and
    windows that contradict themselves.
    """
    stored = stored_values(samples, dataset)
    padding = _padding(stored, dataset)
    used = np.zeros(len(stored), bool)
    used[samples.ravel()] = True
    used &= ~padding
    shown = _apply_voi(_apply_modality(stored, used, dataset), used, dataset, warnings)
    if _is_inverted(dataset, warnings):
        shown = 1.0 - shown
    shown[padding] = 0.0
    depth = np.uint8 if int(dataset.BitsStored) <= 8 else np.uint16
    table: Pixels = np.rint(shown * np.iinfo(depth).max).astype(depth)
    pixels: Pixels = table[samples]  # np.take is ten times slower here
    return pixels


def _padding(stored: NDArray[np.int64], dataset: Dataset) -> Mask:
    """Which values are padding (PS3.3, C.7.5.1.1.2); the tags may carry the other signedness."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(len(stored), bool)
    bits = int(dataset.BitsStored)
    start = _fit(int(value), stored, bits)
    if start is None:
        # No stored value: at most the very sample, with bits above the stored ones, is padding.
        return np.isin(np.arange(len(stored)), int(value) % 65536)
    limit = dataset.get("PixelPaddingRangeLimit")
    end = start if limit is None else _fit(int(limit), stored, bits)
    low, high = sorted((start, start if end is None else end))
    return (stored >= low) & (stored <= high)


def _fit(value: int, stored: NDArray[np.int64], bits: int) -> int | None:
    """Return 16 bits as the stored value they mean, None where the stored bits do not hold them."""
    word = value % 65536
    if word >> bits and word - 65536 < stored.min():
        return None
    wrapped = word % (1 << bits)
    return wrapped - (1 << bits) if wrapped > stored.max() else wrapped


def _apply_modality(stored: NDArray[np.int64], used: Mask, dataset: Dataset) -> Values:
    """Turn stored values into values of the modality (PS3.3, C.11.1)."""
    item = lut_item(dataset, "ModalityLUTSequence")
    if item is not None:
        return look_up(stored.astype(np.float64), used, item)[0]
    slope = _number(dataset.get("RescaleSlope"), 1.0)
    intercept = _number(dataset.get("RescaleIntercept"), 0.0)
    values: Values = stored.astype(np.float64) * slope + intercept
    if slope == 0:
        raise DamagedFile("RescaleSlope is 0, which makes all pixels the same.")
    if not (np.abs(values) < _BEYOND_REASON).all():
        raise DamagedFile("RescaleSlope or RescaleIntercept is not finite or far too large.")
    return values


def _apply_voi(
    values: Values, used: Mask, dataset: Dataset, warnings: list[InputWarning]
) -> Values:
    """Turn values of the modality into 0 to 1: VOI LUT, else window, else range (PS3.3, C.11.2)."""
    shown: Values | None = None
    item = lut_item(dataset, "VOILUTSequence")
    if item is not None:
        table, top = look_up(values, used, item)
        table %= 65536  # entries are unsigned (C.11.2.1.1); old writers give them the VR SS
        if (table[used] > top).any():
            # dcmtk drops the bits above, which scrambles the image; pydicom keeps the values.
            warnings.append(
                InputWarning(
                    "contradicting_lut",
                    "The VOI LUT holds values beyond its declared bits; its largest became white.",
                )
            )
            top = table.max()
        shown = np.minimum(table / top, 1.0)
    elif (window := _first_window(dataset)) is not None:
        shown = _apply_window(values, *window, str(dataset.get("VOILUTFunction") or "LINEAR"))
    elif int(dataset.BitsStored) <= 8 and dataset.PixelRepresentation == 0:
        # Eight bits without a window are already rendered for display, like a PNG.
        return _full_range(values, np.ones(len(values), bool))
    if shown is not None:
        # The network sees 8 bits, so that a window far too wide shows it nothing either.
        if len(np.unique(np.rint(shown[used] * 255))) > 1:
            return shown
        warnings.append(
            InputWarning(
                "unusable_window",
                "The window or VOI LUT leaves one grey value; the value range was used.",
            )
        )
    return _full_range(values, used)


def _full_range(values: Values, used: Mask) -> Values:
    if not used.any():
        return np.zeros(len(values))
    low, high = values[used].min(), values[used].max()
    if low == high:
        return np.zeros(len(values))
    shown: Values = np.clip((values - low) / (high - low), 0.0, 1.0)
    return shown


def _first_window(dataset: Dataset) -> tuple[float, float] | None:
    """Return centre and width, None where there are none; what is no number is nan."""
    try:
        centre, width = (dataset.get(keyword) for keyword in ("WindowCenter", "WindowWidth"))
        if centre is None or width is None:
            return None
        return _number(centre, np.nan), _number(width, np.nan)
    except (TypeError, ValueError):
        return np.nan, np.nan


def _apply_window(values: Values, centre: float, width: float, function: str) -> Values:
    """Apply a window (PS3.3, C.11.2.1.2 and C.11.2.1.3); all black where it is invalid."""
    function = function.upper()
    least = 1.0 if function == "LINEAR" else np.finfo(float).tiny
    if not (np.isfinite(centre) and np.isfinite(width) and width >= least):
        return np.zeros(len(values))
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700.0, 700.0)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if width == 1.0:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _is_inverted(dataset: Dataset, warnings: list[InputWarning]) -> bool:
    """MONOCHROME1 and PresentationLUTShape INVERSE say the same thing; either one inverts, once."""
    monochrome1 = dataset.PhotometricInterpretation == "MONOCHROME1"
    shape = dataset.get("PresentationLUTShape")
    if shape and (shape == "INVERSE") != monochrome1:
        warnings.append(
            InputWarning(
                "contradicting_polarity",
                "PhotometricInterpretation and PresentationLUTShape disagree on what is white; "
                "the image was inverted.",
            )
        )
    return bool(monochrome1 or shape == "INVERSE")


def _number(value: object, default: float) -> float:
    """First of one or several numbers."""
    if value is None or value == "":
        return default
    if isinstance(value, str | int | float):
        return float(value)
    return float(value[0]) if len(value) else default  # type: ignore[arg-type,index]
