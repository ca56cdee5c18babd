"""Every transfer syntax: lossless ones to the bit, lossy ones within what the codec may do."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from contract.radiograph import read
from tests.contract.asserting import pixels_of, refusal, refusal_text, warning_codes
from tests.contract.drawn import (
    HEIGHT,
    WIDTH,
    dicom,
    draw_colours,
    draw_radiograph,
    jpeg,
    jpeg_code_stream,
    luma,
)

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


LOSSLESS = {
    uid.JPEGLossless: [
        (bits, lambda p, b: jpeg_lossless(p, b, predictor=4)) for bits in (8, 12, 16)
    ],
    uid.JPEGLosslessSV1: [(bits, jpeg_lossless) for bits in (8, 10, 12, 14, 16)],
    uid.JPEGLSLossless: [
        (bits, lambda p, _: imagecodecs.jpegls_encode(p)) for bits in (8, 10, 12, 14, 16)
    ],
    uid.JPEG2000Lossless: [(bits, jpeg2000) for bits in (8, 10, 12, 14, 16)],
    uid.HTJ2KLossless: [(bits, lambda p, _: htj2k(p)) for bits in (8, 12, 16)],
    uid.HTJ2KLosslessRPCL: [(bits, lambda p, _: htj2k(p, tlm=True)) for bits in (8, 12, 16)],
    uid.HTJ2K: [(bits, lambda p, _: htj2k(p)) for bits in (8, 12, 16)],
    uid.JPEG2000: [(bits, jpeg2000) for bits in (8, 12, 16)],
    uid.JPEGLSNearLossless: [
        (bits, lambda p, _: imagecodecs.jpegls_encode(p)) for bits in (8, 12, 16)
    ],
}
LOSSLESS_CASES = [
    pytest.param(syntax, bits, encode, id=f"{syntax.name}-{bits}")
    for syntax, depths in LOSSLESS.items()
    for bits, encode in depths
]


@pytest.mark.parametrize(("syntax", "bits", "encode"), LOSSLESS_CASES)
def test_lossless_code_stream_gives_the_very_pixels_of_the_uncompressed_file(syntax, bits, encode):
    pixels = draw_radiograph(bits)
    compressed = read(dicom(pixels, syntax, encode(pixels, bits), **full_window(bits)))
    plain = read(dicom(pixels, **full_window(bits)))
    assert np.array_equal(compressed.pixels, plain.pixels)
    assert (compressed.bits, compressed.warnings) == (bits, ())


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, RLE])
def test_every_uncompressed_syntax_and_rle_give_the_same_pixels(syntax, bits):
    pixels = draw_radiograph(bits)
    plain = dicom(pixels, **full_window(bits))
    assert np.array_equal(pixels_of(dicom(pixels, syntax, **full_window(bits))), pixels_of(plain))


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, RLE])
def test_signed_pixels_are_the_same_in_every_syntax(syntax):
    signed = draw_radiograph(12).astype(np.int16) - 2048
    tags = {"BitsStored": 12, "WindowCenter": 0, "WindowWidth": 4096}
    plain = dicom(signed, **tags)
    assert np.array_equal(pixels_of(dicom(signed, syntax, **tags)), pixels_of(plain))


def test_signed_pixels_are_the_same_in_jpeg_2000():
    signed = draw_radiograph(16).astype(np.int32) - 32768
    signed = signed.astype(np.int16)
    tags = {"WindowCenter": 0, "WindowWidth": 65536}
    compressed = dicom(signed, uid.JPEG2000Lossless, jpeg2000(signed), **tags)
    assert np.array_equal(pixels_of(compressed), pixels_of(dicom(signed, **tags)))


# Largest error of one stored value, relative to white. JPEG quantises, near-lossless JPEG-LS is
# bounded by its NEAR parameter, JPEG 2000 by the signal-to-noise ratio asked for.
LOSSY_CASES = [
    pytest.param(uid.JPEGBaseline8Bit, 8, jpeg_code_stream, 0.015, id="JPEG-baseline"),
    pytest.param(uid.JPEGExtended12Bit, 8, jpeg_code_stream, 0.015, id="JPEG-extended-8"),
    pytest.param(uid.JPEGExtended12Bit, 12, jpeg_code_stream, 0.015, id="JPEG-extended-12"),
    pytest.param(
        uid.JPEGLSNearLossless,
        8,
        lambda pixels, _: imagecodecs.jpegls_encode(pixels, level=2),
        2 / 255,
        id="JPEG-LS-near-2",
    ),
    pytest.param(
        uid.JPEG2000,
        12,
        lambda pixels, bits: jpeg2000(pixels, bits, level=60, reversible=False),
        0.01,
        id="JPEG-2000-60-dB",
    ),
    pytest.param(
        uid.HTJ2K,
        12,
        lambda pixels, _: imagecodecs.htj2k_encode(pixels, reversible=False, level=0.0001),
        0.01,
        id="HTJ2K-irreversible",
    ),
]


@pytest.mark.parametrize(("syntax", "bits", "encode", "tolerance"), LOSSY_CASES)
def test_lossy_code_stream_stays_within_its_tolerance(syntax, bits, encode, tolerance):
    pixels = draw_radiograph(bits)
    lossy = pixels_of(dicom(pixels, syntax, encode(pixels, bits), **full_window(bits)))
    plain = pixels_of(dicom(pixels, **full_window(bits)))
    error = np.abs(lossy.astype(float) - plain) / np.iinfo(plain.dtype).max
    assert 0 < error.max() <= tolerance


def test_jpeg_2000_in_jp2_boxes_is_read_all_the_same():
    pixels = draw_radiograph(12)
    file = dicom(pixels, uid.JPEG2000Lossless, jp2(pixels), **full_window(12))
    assert np.array_equal(pixels_of(file), pixels_of(dicom(pixels, **full_window(12))))


def test_code_stream_in_several_fragments_is_joined():
    pixels = draw_radiograph(8)
    stream = jpeg_code_stream(pixels, 8)
    several = encapsulate([stream], fragments_per_frame=7)
    file = dicom(pixels, uid.JPEGBaseline8Bit, stream, PixelData=several)
    whole = dicom(pixels, uid.JPEGBaseline8Bit, stream)
    assert np.array_equal(pixels_of(file), pixels_of(whole))


COLOURS = draw_colours()
COLOUR_CASES = {
    "JPEG-YBR": (uid.JPEGBaseline8Bit, jpeg(COLOURS), "YBR_FULL_422"),
    "JPEG-YBR-labelled-RGB": (uid.JPEGBaseline8Bit, jpeg(COLOURS), "RGB"),
    "JPEG-LS-RGB": (uid.JPEGLSLossless, imagecodecs.jpegls_encode(COLOURS), "RGB"),
    "JPEG-2000-RCT": (uid.JPEG2000Lossless, jpeg2000(COLOURS, mct=True), "YBR_RCT"),
    "JPEG-2000-ICT": (
        uid.JPEG2000,
        jpeg2000(COLOURS, mct=True, reversible=False, level=50),
        "YBR_ICT",
    ),
    "JPEG-2000-RCT-in-boxes": (
        uid.JPEG2000Lossless,
        jpeg2000(COLOURS, mct=True, codecformat="jp2"),
        "YBR_RCT",
    ),
    "JPEG-2000-RGB": (uid.JPEG2000Lossless, jpeg2000(COLOURS, mct=False), "RGB"),
    "JPEG-lossless-RGB": (uid.JPEGLosslessSV1, jpeg_lossless(COLOURS, 8), "RGB"),
    "HTJ2K-RCT": (uid.HTJ2KLossless, htj2k(COLOURS), "YBR_RCT"),
}


@pytest.mark.parametrize(
    ("syntax", "stream", "photometric"), COLOUR_CASES.values(), ids=COLOUR_CASES
)
def test_compressed_colour_becomes_luma(syntax, stream, photometric):
    file = dicom(COLOURS, syntax, stream, PhotometricInterpretation=photometric)
    assert np.abs(pixels_of(file) - luma(COLOURS)).max() <= 4
    assert warning_codes(file) == ["colour_image"]


def test_rgb_in_rle_becomes_luma():
    assert np.array_equal(pixels_of(dicom(COLOURS, RLE)), pixels_of(dicom(COLOURS)))


def without_colour_markers(stream):
    """Drop the Adobe segment and give the components the numbers of luma and chroma."""
    at = stream.index(b"\xff\xee")
    stream = bytearray(stream[:at] + stream[at + 2 + int.from_bytes(stream[at + 2 : at + 4]) :])
    frame, scan = stream.index(b"\xff\xc0") + 10, stream.index(b"\xff\xda") + 5
    for number in range(3):
        stream[frame + 3 * number] = stream[scan + 2 * number] = number + 1
    return bytes(stream)


def test_jpeg_that_keeps_rgb_untransformed_shows_no_false_colours():
    # Archives hold such files; the code stream alone looks like luma and chroma.
    grey = np.dstack([draw_radiograph()] * 3)
    rgb = imagecodecs.jpeg8_encode(
        grey, level=95, colorspace="RGB", outcolorspace="RGB", subsampling="444"
    )
    file = dicom(grey, uid.JPEGBaseline8Bit, without_colour_markers(rgb))
    assert np.abs(pixels_of(file).astype(int) - draw_radiograph()).max() <= 4
    assert warning_codes(file) == []


@pytest.mark.parametrize("subsampling", ["420", "422"])
def test_jpeg_labelled_rgb_that_halves_two_components_is_luma_and_chroma(subsampling):
    grey = np.dstack([draw_radiograph()] * 3)
    ycc = imagecodecs.jpeg8_encode(grey, level=95, subsampling=subsampling)
    jfif = ycc.index(b"\xff\xe0")
    ycc = ycc[:jfif] + ycc[jfif + 2 + int.from_bytes(ycc[jfif + 2 : jfif + 4]) :]
    file = dicom(grey, uid.JPEGBaseline8Bit, ycc)
    assert np.abs(pixels_of(file).astype(int) - draw_radiograph()).max() <= 4
    assert warning_codes(file) == []


def as_they_are(pixels):
    """Lossless JPEG of colour, whose process knows no colour transform."""
    return jpeg_lossless(pixels, 8, colorspace="RGB", outcolorspace="RGB")


PLAIN_CODECS = {
    uid.JPEGLosslessSV1: as_they_are,
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda pixels: jpeg2000(pixels, mct=False),
}
PLAIN_IDS = [syntax.name for syntax in PLAIN_CODECS]
GREY = draw_radiograph()
YBR = np.dstack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)])


@pytest.mark.parametrize(("syntax", "encode"), PLAIN_CODECS.items(), ids=PLAIN_IDS)
def test_ybr_full_in_a_codec_without_a_colour_transform_shows_its_luma(syntax, encode):
    file = dicom(YBR, syntax, encode(YBR), PhotometricInterpretation="YBR_FULL")
    assert np.abs(pixels_of(file).astype(int) - GREY).max() <= 1
    assert warning_codes(file) == []


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1])
def test_rgb_in_lossless_jpeg_is_read_to_the_bit_whatever_its_markers_say(syntax):
    jfif = bytes.fromhex("ffe0 0010 4a464946 00 0101 00 0001 0001 0000")
    stream = as_they_are(COLOURS)
    for markers in (b"", jfif):
        file = dicom(COLOURS, syntax, stream[:2] + markers + stream[2:])
        assert np.array_equal(pixels_of(file), pixels_of(dicom(COLOURS)))


NOT_JPEG = ["YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"]


@pytest.mark.parametrize("photometric", NOT_JPEG)
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, RLE])
def test_colour_that_no_uncompressed_file_holds_is_refused_and_not_taken_for_rgb(
    syntax, photometric
):
    file = dicom(YBR, syntax, PhotometricInterpretation=photometric)
    assert refusal(file) == "unsupported_pixels"
    assert "RGB, YBR_FULL" in refusal_text(file)


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", *NOT_JPEG])
@pytest.mark.parametrize(("syntax", "encode"), PLAIN_CODECS.items(), ids=PLAIN_IDS)
def test_colour_that_a_codec_cannot_hold_is_refused_and_not_taken_for_rgb(
    syntax, encode, photometric
):
    # JPEG 2000 may hold YBR_ICT and YBR_RCT, but this code stream has no transform to undo.
    file = dicom(YBR, syntax, encode(YBR), PhotometricInterpretation=photometric)
    assert refusal(file) == "unsupported_pixels"


def test_ybr_full_422_in_rle_is_refused():
    assert refusal(dicom(YBR, RLE, PhotometricInterpretation="YBR_FULL_422")) == (
        "unsupported_pixels"
    )


END = b"\xff\xd9"
SMALL, LARGE = draw_radiograph(8), draw_radiograph(8, 3 * HEIGHT, 3 * WIDTH)
STREAMS = {
    uid.JPEGBaseline8Bit: lambda pixels: jpeg_code_stream(pixels, 8),
    uid.JPEGLosslessSV1: lambda pixels: jpeg_lossless(pixels, 8),
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: jpeg2000,
    uid.JPEG2000: jp2,
    uid.HTJ2KLossless: htj2k,
}
STREAM_IDS = [syntax.name for syntax in STREAMS]


@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_code_stream_larger_than_its_tags_is_refused_and_both_are_named(syntax, encode):
    file = dicom(SMALL, syntax, encode(LARGE))
    assert refusal(file) == "damaged_file"
    assert "160 x 192" in refusal_text(file)
    assert "480 x 576" in refusal_text(file)


@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_code_stream_deeper_than_its_tags_is_refused(syntax, encode):
    if encode in (STREAMS[uid.JPEGBaseline8Bit], STREAMS[uid.JPEGLosslessSV1]):
        deep = jpeg_lossless(draw_radiograph(16), 16)
    else:
        deep = encode(draw_radiograph(16))
    assert refusal(dicom(SMALL, syntax, deep)) == "damaged_file"


@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_colour_code_stream_of_a_grey_image_is_refused(syntax, encode):
    assert refusal(dicom(SMALL, syntax, encode(COLOURS))) == "damaged_file"


@pytest.mark.parametrize("kept", [0.01, 0.02, 0.3, 0.9])
@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_truncated_code_stream_is_refused_as_damaged(syntax, encode, kept):
    stream = encode(SMALL)
    file = dicom(SMALL, syntax, stream[: int(len(stream) * kept)])
    assert refusal(file) == "damaged_file"


@pytest.mark.parametrize("kept", [0.5, 0.75, 0.9])
@pytest.mark.parametrize(("syntax", "encode"), STREAMS.items(), ids=STREAM_IDS)
def test_code_stream_whose_end_is_zeros_is_refused_as_damaged(syntax, encode, kept):
    stream = encode(SMALL)
    whole = stream[: int(len(stream) * kept)].ljust(len(stream), b"\0")
    assert refusal(dicom(SMALL, syntax, whole)) == "damaged_file"


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        (uid.JPEGBaseline8Bit, 8),
        (uid.JPEGExtended12Bit, 12),
        (uid.JPEGLossless, 8),
        (uid.JPEGLosslessSV1, 12),
        (uid.JPEGLosslessSV1, 16),
    ],
)
def test_jpeg_that_ends_early_is_answered_with_a_warning(syntax, bits):
    pixels = draw_radiograph(bits)
    stream = jpeg_code_stream(pixels, bits, lossless="Lossless" in syntax.name)
    tags = {"WindowCenter": 1 << (bits - 1), "WindowWidth": 1 << bits, "BitsStored": bits}
    assert warning_codes(dicom(pixels, syntax, stream, **tags)) == []
    early = stream[: len(stream) // 2] + b"\xff\xd9"
    assert warning_codes(dicom(pixels, syntax, early, **tags)) == ["grey_end"]


def tiles(pixels):
    """Encode as JPEG 2000 in tiles of 64 x 64; returns the main header and the part of each."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", no_jp2=True, tile_size=(64, 64))
    header, *parts = file.getvalue().removesuffix(END).split(b"\xff\x90\0\x0a")
    return header, [b"\xff\x90\0\x0a" + part for part in parts]


@pytest.mark.parametrize("lost", [0, 2, -1])
def test_jpeg_2000_that_lacks_a_tile_is_refused_as_damaged(lost):
    header, parts = tiles(SMALL)
    assert len(parts) > 3
    whole = pixels_of(dicom(SMALL, uid.JPEG2000Lossless, header + b"".join(parts) + END))
    np.testing.assert_array_equal(whole, SMALL)
    del parts[lost]
    file = dicom(SMALL, uid.JPEG2000Lossless, header + b"".join(parts) + END)
    assert "lacks a part of the image" in refusal_text(file)


def test_jpeg_2000_that_lacks_one_of_the_parts_that_a_tile_promises_is_refused_as_damaged():
    header, parts = tiles(SMALL)
    parts[1] = parts[1][:11] + b"\2" + parts[1][12:]
    file = dicom(SMALL, uid.JPEG2000Lossless, header + b"".join(parts) + END)
    assert "lacks a part of the image" in refusal_text(file)


def test_jpeg_2000_of_tiles_without_a_size_is_refused_as_damaged():
    header, parts = tiles(SMALL)
    at = header.index(b"\xff\x51") + 22
    nothing = header[:at] + b"\0" * 4 + header[at + 4 :]
    file = dicom(SMALL, uid.JPEG2000Lossless, nothing + b"".join(parts) + END)
    assert "contradicts itself about its tiles" in refusal_text(file)


@pytest.mark.parametrize("syntax", [*STREAMS, RLE], ids=[*STREAM_IDS, "RLE"])
def test_code_stream_of_another_codec_is_refused_as_damaged(syntax):
    assert refusal(dicom(SMALL, syntax, b"neither this nor that " * 40)) == "damaged_file"


def test_jpeg_ls_that_was_cut_and_padded_is_refused_quickly(sandbox):
    # CharLS alone spends many seconds on it.
    stream = imagecodecs.jpegls_encode(SMALL)[:1551] + b"\0"
    outcome = sandbox.read(dicom(SMALL, uid.JPEGLSLossless, stream), timeout_s=2)
    assert outcome.code == "damaged_file"


def rle(pixels, edit=lambda segments: segments):
    """Return RLE data (PS3.5, annex G) whose segments were edited on the way."""
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    octets = big_endian.view(np.uint8).reshape(pixels.size, -1).T
    segments = edit([imagecodecs.packbits_encode(plane.tobytes()) for plane in octets])
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    header = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def test_rle_written_by_hand_is_read():
    pixels = draw_radiograph(16)
    file = dicom(pixels, RLE, rle(pixels), **full_window(16))
    assert np.array_equal(pixels_of(file), pixels_of(dicom(pixels, **full_window(16))))


@pytest.mark.parametrize("padding", [b"\0", b" ", b"\x80", b"\x81"])
def test_rle_segment_may_be_padded_with_any_byte(padding):
    padded = rle(SMALL, lambda segments: [segment + padding for segment in segments])
    assert np.array_equal(pixels_of(dicom(SMALL, RLE, padded)), SMALL)


def test_rle_whose_last_run_ends_beyond_the_image_is_read():
    longer = rle(SMALL, lambda segments: [segment + b"\x81\7" for segment in segments])
    assert np.array_equal(pixels_of(dicom(SMALL, RLE, longer)), SMALL)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda segments: segments[:1], id="segment missing"),
        pytest.param(lambda segments: [*segments, b"\0\0"], id="segment surplus"),
        pytest.param(lambda segments: [part[: len(part) // 2] for part in segments], id="cut"),
        pytest.param(lambda segments: [b"", segments[1]], id="segment empty"),
        pytest.param(lambda segments: [b"\x81\0" * 5_000_000, segments[1]], id="segment endless"),
    ],
)
def test_rle_that_does_not_fit_its_tags_is_refused_as_damaged(edit):
    pixels = draw_radiograph(16)
    assert refusal(dicom(pixels, RLE, rle(pixels, edit))) == "damaged_file"


def test_rle_with_offsets_beyond_its_end_is_refused_as_damaged():
    header = struct.pack("<16I", 1, 0xFFFFFFFF, *[0] * 14)
    assert refusal(dicom(SMALL, RLE, header + bytes(100))) == "damaged_file"


def test_ybr_full_in_rle_shows_its_luma():
    grey = draw_radiograph()
    ybr = np.dstack([grey, np.full_like(grey, 128), np.full_like(grey, 128)])
    file = dicom(ybr, RLE, PhotometricInterpretation="YBR_FULL")
    assert np.abs(pixels_of(file).astype(int) - grey).max() <= 1
    assert warning_codes(file) == []


def test_pixel_data_without_any_fragment_is_refused_as_damaged():
    empty = b"\xfe\xff\x00\xe0\0\0\0\0"
    file = dicom(SMALL, uid.JPEGBaseline8Bit, b"any", PixelData=empty)
    assert refusal(file) == "damaged_file"


def test_jp2_box_of_no_length_ends_the_search_and_does_not_hang(sandbox):
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\0free" + jpeg2000(SMALL)
    outcome = sandbox.read(dicom(SMALL, uid.JPEG2000, boxes), timeout_s=5)
    assert outcome.code == "damaged_file"


def test_false_code_stream_inside_a_jp2_box_does_not_hide_the_size_of_the_true_one():
    decoy = jpeg2000(SMALL)[:200]
    boxes = jp2(LARGE)
    signature, rest = boxes[:12], boxes[12:]
    hidden = signature + (8 + len(decoy)).to_bytes(4) + b"free" + decoy + rest
    assert refusal(dicom(SMALL, uid.JPEG2000, hidden)) == "damaged_file"


def test_jpeg_with_two_thousand_scans_is_refused_as_too_complex():
    stream = jpeg(SMALL, progressive=True)
    scan = stream[stream.rindex(b"\xff\xda") : -2]
    many = stream[:-2] + scan * 2000 + b"\xff\xd9"
    assert refusal(dicom(SMALL, uid.JPEGBaseline8Bit, many)) == "too_complex"
