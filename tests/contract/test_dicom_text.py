"""No text of a DICOM header reaches an answer, a warning or standard error."""

import warnings

import pytest
from pydicom.dataset import Dataset

from contract.errors import InputError
from contract.radiograph import read
from tests.contract.drawn import dicom, draw_radiograph

GREY = draw_radiograph()
CANARY = "CANARY-Jane-Doe"
IDENTIFYING = {
    "PatientName": CANARY,
    "PatientID": CANARY,
    "InstitutionName": CANARY,
    "StudyDescription": CANARY,
    "ImageComments": CANARY,
}
CANARY_CODE = Dataset()
CANARY_CODE.CodeValue = CANARY_CODE.CodeMeaning = CANARY
CANARY_FILES = {
    "read": {},
    "body part": {"BodyPartExamined": CANARY},
    "modality": {"Modality": CANARY},
    "view": {"ViewPosition": CANARY},
    "codes": {"ViewCodeSequence": [CANARY_CODE], "AnatomicRegionSequence": [CANARY_CODE]},
    "photometric interpretation": {"PhotometricInterpretation": CANARY},
    "window": {"WindowCenter": "1", "WindowWidth": "0", "VOILUTFunction": CANARY},
    "polarity": {"PresentationLUTShape": CANARY},
    "character set": {"SpecificCharacterSet": CANARY},
    "truncated": {"PixelData": b"CANARY"},
    "modality and part": {"Modality": "CT", "BodyPartExamined": CANARY},
}


@pytest.mark.parametrize("tags", CANARY_FILES.values(), ids=CANARY_FILES)
def test_no_text_of_the_header_is_repeated(tags, sandbox, capfd):
    file = dicom(GREY, **{**IDENTIFYING, **tags})
    assert CANARY.encode() in file or b"CANARY" in file
    assert "CANARY" not in sandbox.read(file).text
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # to standard error, were there any
        try:
            said = repr(read(file).warnings)
        except InputError as error:
            said = str(error)
    assert "CANARY" not in said + "".join(capfd.readouterr())
