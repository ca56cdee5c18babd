"""Everything that can be wrong with a file that should be a radiograph.

    InputError
    ├── UnsupportedFormat      not PNG, JPEG or DICOM at all
    └── UnusableFile           a supported format that cannot be used
        ├── DamagedFile          does not decode
        ├── NoPixels             decodes, but holds no image
        ├── BlankImage           every pixel is the same
        ├── SeveralFrames        holds more than one image
        ├── TooSmall             under MIN_SIDE pixels on a side
        ├── TooManyPixels        declares more than MAX_PIXELS pixels
        ├── TooComplex           built to cost far more than its size
        ├── UnsupportedPixels    pixels in a form that no radiograph uses
        └── NotFrontalChest      its own header says that it shows something else

`code` is stable and part of the service's interface. Messages hold no value of the file except
numbers and identifiers of the standard, so they are safe to answer and to log.
"""

from typing import ClassVar, NamedTuple


class InputError(Exception):
    """A file that cannot be read as a radiograph; `code` names the reason for programs."""

    code: ClassVar[str] = "unreadable_input"


class UnsupportedFormat(InputError):
    """The content is none of PNG, JPEG, DICOM."""

    code = "unsupported_format"


class UnusableFile(InputError):
    """The format is supported but this file cannot be used."""

    code = "unusable_file"


class DamagedFile(UnusableFile):
    """The file is cut short or contradicts itself."""

    code = "damaged_file"


class NoPixels(UnusableFile):
    """A DICOM object without an image."""

    code = "no_pixel_data"


class BlankImage(UnusableFile):
    """An image without any content."""

    code = "blank_image"


class SeveralFrames(UnusableFile):
    """More than one image in one file."""

    code = "several_frames"


class TooSmall(UnusableFile):
    """Fewer pixels on a side than a radiograph has."""

    code = "too_small"


class TooManyPixels(UnusableFile):
    """More declared pixels than are decoded."""

    code = "too_many_pixels"


class TooComplex(UnusableFile):
    """More scans, elements or nesting than any radiograph needs."""

    code = "too_complex"


class UnsupportedPixels(UnusableFile):
    """A pixel form or compression that is not read."""

    code = "unsupported_pixels"


class NotFrontalChest(UnusableFile):
    """The header names another modality, body part or view."""

    code = "not_frontal_chest"


class InputWarning(NamedTuple):
    """Something about a usable file that its sender should know."""

    code: str
    detail: str
