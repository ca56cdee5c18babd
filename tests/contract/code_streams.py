"""Drawn radiographs as code streams of the codecs of DICOM's compressed transfer syntaxes."""

import imagecodecs
from pydicom import uid

from tests.contract.drawn import jpeg_code_stream

RLE = uid.RLELossless


def jpeg2000(pixels, bits=None, **options):
    settings = {"level": 0, "codecformat": "j2k", "reversible": True, **options}
    bits = bits or pixels.dtype.itemsize * 8
    return imagecodecs.jpeg2k_encode(pixels, bitspersample=bits, **settings)


def jp2(pixels):
    """JPEG 2000 with the JP2 boxes around, which DICOM forbids and some writers leave on."""
    return jpeg2000(pixels, codecformat="jp2")


def htj2k(pixels, **options):
    return imagecodecs.htj2k_encode(pixels, reversible=True, **options)


def jpeg_lossless(pixels, bits, **options):
    return jpeg_code_stream(pixels, bits, lossless=True, **options)


def full_window(bits):
    """Show every value of the depth, so that the display values tell the stored ones."""
    return {"BitsStored": bits, "WindowCenter": 1 << (bits - 1), "WindowWidth": 1 << bits}
