"""Real and hostile files: each is read or refused with a code; none brings its reader down."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid

from contract import errors
from contract.codestream import read_jpeg2000_frame, read_jpeg_frame
from contract.errors import InputError
from tests.contract.drawn import dicom

CODES = {
    kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, InputError)
}
FRONTAL = ("nih", "dicom-frontal", "other-chest")
REFUSED_BY_THEIR_HEADER = {"CT", "MR", "US", "NM", "SEG", "RTDOSE", "MG", "SM"}


@pytest.fixture(scope="module")
def outcomes(real_files, sandbox):
    """What became of every real request, by its path within the folder."""
    files = [path for path in sorted(real_files.rglob("*")) if path.parent != real_files]
    read = sandbox.read_all(path for path in files if path.is_file())
    return {path.relative_to(real_files).as_posix(): outcome for path, outcome in read.items()}


@pytest.fixture(scope="module")
def notes(real_files):
    """What the index says about every real request."""
    with (real_files / "index.csv").open(newline="") as file:
        return {row["file"]: row["note"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("folder", FRONTAL)
def test_every_frontal_chest_radiograph_is_read(outcomes, folder):
    found = {name: outcome for name, outcome in outcomes.items() if name.startswith(folder)}
    assert found
    assert {name: outcome for name, outcome in found.items() if outcome.code != "read"} == {}


def test_every_request_is_read_or_refused_with_a_code(outcomes):
    assert {name: o for name, o in outcomes.items() if o.code not in CODES | {"read"}} == {}


def test_every_request_is_answered_within_seconds(outcomes):
    assert {name: o.seconds for name, o in outcomes.items() if o.seconds > 5} == {}


def test_damaged_dicom_is_never_read(outcomes):
    found = {name: outcome for name, outcome in outcomes.items() if name.startswith("dicom-bad")}
    assert found
    assert {name for name, outcome in found.items() if outcome.code == "read"} == set()


def test_dicom_of_another_modality_is_refused_for_it(outcomes, notes):
    modality = {name: note.split(" ")[0] for name, note in notes.items() if "dicom-" in name}
    others = {name for name, given in modality.items() if given in REFUSED_BY_THEIR_HEADER}
    assert others
    expected = {"not_frontal_chest", "unsupported_pixels", "unsupported_format"}
    assert {name: outcomes[name] for name in others if outcomes[name].code not in expected} == {}


def test_every_hostile_file_is_read_or_refused_with_a_code(hostile_files, sandbox):
    files = [path for path in sorted(hostile_files.rglob("*")) if path.is_file()]
    outcomes = sandbox.read_all(files)
    print(sorted(Counter(outcome.code for outcome in outcomes.values()).items()))
    assert len(outcomes) > 2000
    strange = {path.name: o for path, o in outcomes.items() if o.code not in CODES | {"read"}}
    assert strange == {}


def code_streams(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every JPEG and JPEG 2000 of a folder as the pixel data of a chest radiograph."""
    for path in sorted(folder.rglob("*")):
        stream = path.read_bytes() if path.is_file() else b""
        try:
            if stream.startswith(b"\xff\xd8"):
                frame, syntax = read_jpeg_frame(stream), uid.JPEGExtended12Bit
            elif stream.startswith(b"\xff\x4f\xff\x51") or stream[4:8] == b"jP  ":
                frame, syntax = read_jpeg2000_frame(stream), uid.JPEG2000
            else:
                continue
        except InputError:
            continue
        if frame.width * frame.height <= 4_000_000 and frame.components in (1, 3):
            pixels = np.zeros((2, 2, 3) if frame.components == 3 else (2, 2), np.uint16)
            tags = {"Rows": frame.height & 0xFFFF, "Columns": frame.width & 0xFFFF}
            yield path, dicom(pixels, syntax, stream, **tags)


def test_every_hostile_code_stream_inside_dicom_is_decoded_or_refused(hostile_files, sandbox):
    files = dict(code_streams(hostile_files))
    outcomes = sandbox.decode_all(files)
    print(sorted(Counter(outcome.code for outcome in outcomes.values()).items()))
    assert len(outcomes) > 200
    strange = {path.name: o for path, o in outcomes.items() if o.code not in CODES | {"read"}}
    assert strange == {}
