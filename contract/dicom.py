"""DICOM -> grey pixels: which objects are taken, and their way through the pixel rules."""

import io
from typing import Final

import numpy as np
from pydicom import filereader, uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import BaseTag, Tag

from contract.errors import (
    DamagedFile,
    InputError,
    InputWarning,
    NoPixels,
    SeveralFrames,
    TooComplex,
    UnsupportedPixels,
)
from contract.grayscale import to_p_values
from contract.image import Grey, to_grey, warn_of_lost_rows
from contract.limits import Pixels, check_size
from contract.lookup import MAX_TABLE_BYTES
from contract.palette import apply_palette
from contract.stored import OVERLAY_POSITIONS
from contract.subject import check_subject
from contract.transfer import check_transfer_syntax, decode_samples, photometric_interpretations

_FILLED_WITH_GREY: Final = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1}
)
"""Transfer syntaxes whose decoder puts plain grey where data is lost."""

MAX_STEPS: Final = 50_000
"""Reads of the parser, one to three for an element or sequence item; a radiograph needs some
hundreds, 16 MB of two million empty items cost 41 s and 1.3 GB."""

MAX_VALUE_BYTES: Final = 1 << 10
"""Longest value that is interpreted; a window has some bytes, four values of 1 MiB cost 4 s."""

MAX_TABLES_BYTES: Final = 1 << 20
"""Longest sequence of lookup tables; one has 128 KiB."""

MAX_CODES_BYTES: Final = 1 << 16
"""Longest sequence of codes; one code has some hundred bytes, 1 MiB of empty ones cost 2 s."""

# Nothing else of the header is kept: what identifies the patient is not even held in memory.
_KEYWORDS: Final = (
    "SOPClassUID Modality PresentationIntentType "
    "BodyPartExamined AnatomicRegionSequence ViewPosition ViewCodeSequence "
    "PatientOrientation "
    "Rows Columns NumberOfFrames SamplesPerPixel PhotometricInterpretation PlanarConfiguration "
    "BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit "
    "RescaleSlope RescaleIntercept ModalityLUTSequence VOILUTSequence WindowCenter WindowWidth "
    "VOILUTFunction PresentationLUTShape "
    "RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor "
    "BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData "
    "GreenPaletteColorLookupTableData BluePaletteColorLookupTableData "
    "SegmentedRedPaletteColorLookupTableData "
    "FloatPixelData DoubleFloatPixelData PixelData"
).split()
_TAGS: Final[list[BaseTag | int]] = [*map(Tag, _KEYWORDS), *OVERLAY_POSITIONS]
_REQUIRED: Final = (
    "Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored "
    "PixelRepresentation"
).split()
_FIRST_PIXELS: Final = 0x7FE00000
_CODE_SEQUENCES: Final = (Tag("AnatomicRegionSequence"), Tag("ViewCodeSequence"))
_TABLE_SEQUENCES: Final = (Tag("ModalityLUTSequence"), Tag("VOILUTSequence"))
_SEQUENCES: Final = frozenset({*_CODE_SEQUENCES, *_TABLE_SEQUENCES})
_PALETTES: Final = tuple(Tag(keyword) for keyword in _KEYWORDS if keyword.endswith("TableData"))
_MAX_BYTES: Final[dict[int, int]] = {
    Tag("SpecificCharacterSet"): MAX_VALUE_BYTES,  # interpreted by pydicom unasked
    **{tag: MAX_VALUE_BYTES for tag in _TAGS if tag < _FIRST_PIXELS},
    **dict.fromkeys(_CODE_SEQUENCES, MAX_CODES_BYTES),
    **dict.fromkeys(_TABLE_SEQUENCES, MAX_TABLES_BYTES),
    **dict.fromkeys(_PALETTES, MAX_TABLE_BYTES),
}
_PIXEL_DATA: Final = Tag("PixelData")
_LAST_META: Final = 0x0002FFFF
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF


def read_dicom(data: bytes) -> Grey:
    """Decode a DICOM file to uint8[H,W] or uint16[H,W], its bits stored and warnings.

    Colour becomes luma. Raises a subclass of UnusableFile, among them NotFrontalChest where the
    header names another modality, body part or view.
    """
    warnings: list[InputWarning] = []
    try:
        dataset = _read_dataset(data)
        check_subject(dataset, warnings)
        _check_frame(dataset)
        _normalise_pixel_tags(dataset)
        samples = decode_samples(dataset)
        if dataset.file_meta.TransferSyntaxUID in _FILLED_WITH_GREY:
            warn_of_lost_rows(samples, int(dataset.BitsStored), warnings)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            samples = apply_palette(samples, dataset)
        elif samples.ndim == 3:
            samples = _fill_range(samples, dataset)
        if samples.ndim == 3:
            return to_grey(samples, warnings), int(dataset.BitsStored), warnings
        return to_p_values(samples, dataset, warnings), int(dataset.BitsStored), warnings
    except (InputError, MemoryError):
        raise
    except RecursionError as error:
        raise TooComplex("The DICOM file nests its sequences too deeply.") from error
    except Exception as error:  # parsers raise whatever damage leads to
        raise DamagedFile("The DICOM file is cut short or contradicts itself.") from error


def _fill_range(samples: Pixels, dataset: Dataset) -> Pixels:
    """Scale colour samples that leave bits above the stored ones empty; 65535 or 255 is white."""
    bits = int(dataset.BitsStored)
    top = (1 << bits) - 1
    if bits >= 8 * samples.itemsize or dataset.HighBit != bits - 1 or samples.max() > top:
        return samples
    depth = np.uint8 if bits <= 8 else np.uint16
    table = np.rint(np.arange(top + 1) * (np.iinfo(depth).max / top)).astype(depth)
    scaled: Pixels = table[samples]
    return scaled


def _read_dataset(data: bytes) -> FileDataset:
    """Read the needed elements only; refuse before parsing what is not a still image."""
    file = _CountedReads(data)
    file.seek(132)
    meta = filereader.read_dataset(file, False, True, stop_when=_StopAfter(_LAST_META))
    if meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage:
        raise NoPixels("This is a DICOMDIR, an index of files; send one of the images it lists.")
    check_transfer_syntax(meta.get("TransferSyntaxUID"))
    file.seek(0)
    stop = _StopAfter(_PIXEL_DATA)
    dataset = filereader.read_partial(file, stop, specific_tags=_TAGS)
    if stop.reached and "PixelData" not in dataset:
        raise DamagedFile("The DICOM file is cut short within its pixel data.")
    return dataset


class _CountedReads(io.BytesIO):
    """Bytes that refuse to be read in more steps than a radiograph needs, at any depth."""

    steps = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooComplex("The DICOM file has far more elements than a radiograph.")
        return super().read(size)


class _StopAfter:
    """Stops reading after the element `last`; refuses values too long to be interpreted."""

    def __init__(self, last: int) -> None:
        self._last = last
        self.reached = False

    def __call__(self, tag: BaseTag, _vr: str | None, length: int) -> bool:
        open_ended = tag in _SEQUENCES and length == _UNDEFINED_LENGTH  # its steps are counted
        if length > _MAX_BYTES.get(tag, _UNDEFINED_LENGTH) and not open_ended:
            raise TooComplex("The DICOM file has an element far longer than its purpose needs.")
        self.reached |= tag == self._last
        return int(tag) > self._last


def _check_frame(dataset: FileDataset) -> None:
    """Refuse by declared frames and size, before anything is decoded."""
    if "PixelData" not in dataset:
        if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            raise UnsupportedPixels("Floating point pixels are not those of a radiograph.")
        raise NoPixels("The DICOM object holds no pixel data.")
    if dataset.get("SamplesPerPixel") == 3:
        dataset.setdefault("PixelRepresentation", 0)  # colour has no sign
    for keyword in _REQUIRED:
        if dataset.get(keyword) in (None, ""):
            raise DamagedFile(f"The DICOM file does not tell {keyword}; export it again.")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise SeveralFrames(f"The DICOM object holds {frames} frames; send one radiograph.")
    check_size(int(dataset.Columns), int(dataset.Rows))


def _normalise_pixel_tags(dataset: FileDataset) -> None:
    """Refuse by declared pixel form; normalise the tags that decoding reads."""
    samples, allocated, stored = (
        int(dataset[keyword].value)
        for keyword in ("SamplesPerPixel", "BitsAllocated", "BitsStored")
    )
    if samples not in (1, 3) or allocated not in (8, 16):
        raise UnsupportedPixels(
            f"{samples} samples per pixel of {allocated} bits are not read; send 1 or 3 samples of "
            "8 or 16 bits."
        )
    photometric = str(dataset.PhotometricInterpretation).strip().upper()
    possible = photometric_interpretations(dataset.file_meta.TransferSyntaxUID, samples)
    if photometric not in possible:
        # Taken for MONOCHROME2, a misspelt MONOCHROME1 would be judged black for white.
        raise UnsupportedPixels(
            f"PhotometricInterpretation is none that {samples} samples per pixel have in this "
            f"transfer syntax: {', '.join(possible)}."
        )
    dataset.PhotometricInterpretation = photometric
    if stored > 8 and photometric.startswith("YBR_FULL"):
        # pydicom's conversion knows 8 bits only, and few programs write more.
        raise UnsupportedPixels("Luma and chroma of more than 8 bits are not read; send RGB.")
    high = dataset.get("HighBit")
    dataset.HighBit = stored - 1 if high is None else int(high)
    if not 1 <= stored <= allocated or not stored - 1 <= dataset.HighBit < allocated:
        raise DamagedFile(
            f"BitsStored {stored} and HighBit {dataset.HighBit} do not fit into {allocated} bits."
        )
