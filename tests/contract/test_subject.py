"""What a header says is shown: by name, and by the codes of the standard's own dictionaries."""

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.dataset import Dataset
from pydicom.sr._snomed_dict import mapping
from pydicom.sr.codedict import codes
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from contract.dicom import MAX_CODES_BYTES
from contract.radiograph import read
from tests.contract.asserting import pixels_of, refusal, refusal_text, warning_codes
from tests.contract.drawn import dicom, draw_radiograph

GREY = draw_radiograph()
LATERAL = ["LateralProjection", "LeftLateral", "RightLateral", "MedioLateralProjection"]
LATERAL += ["LateralMedial", "Sagittal"]
OBLIQUE = ["ObliqueProjection", "RightOblique", "LeftOblique", "RightAnteriorOblique"]
OBLIQUE += ["LeftAnteriorOblique", "RightPosteriorOblique", "LeftPosteriorOblique"]
OBLIQUE += ["AnteroPosteriorOblique", "PosteroAnteriorOblique", "FrontalOblique"]
FRONTAL = ["Frontal", "PosteroAnterior", "AnteroPosterior"]
ELSEWHERE = """
Abdomen AbdomenAndPelvis AnkleJoint Breast Calcaneus CervicalSpine Clavicle Coccyx ElbowJoint
EntireBody Extremity Eye FacialBones Femur Fibula Finger Foot Forearm Hand Head HeadAndNeck Hip
HipJoint Humerus JawRegion Knee LowerLeg LowerLimb LumbarSpine LumboSacralSpine Mandible Maxilla
NasalBone Neck OrbitalStructure ParanasalSinus Patella Pelvis Sacrum Scapula Shoulder Skull Spine
Thigh ThoracicSpine ThoracoLumbarSpine Thumb Toe UpperArm UpperLimb WristJoint Zygoma
""".split()
CHEST = ["Chest", "Lung", "ApexOfLung", "Rib", "ChestAndAbdomen", "NeckAndChest"]
OTHER_THAN_CHEST = ["HAND", "SKULL", "ABDOMEN", "LSPINE", "T-SPINE", "Knee", "BREAST", "PELVIS"]
CANARY = "CANARY-Jane-Doe"


def item(value, scheme, meaning="unsaid"):
    dataset = Dataset()
    dataset.CodeValue, dataset.CodingSchemeDesignator, dataset.CodeMeaning = value, scheme, meaning
    return dataset


def coded(name, scheme):
    """Return a concept of the standard's dictionary in SNOMED CT, or as it was in SNOMED RT."""
    code = getattr(codes.SCT, name)
    value = code.value if scheme == "SCT" else mapping["SCT"][code.value]
    return item(value, scheme, code.meaning)


def in_both(names):
    """Return each concept in SNOMED CT, and in SNOMED RT where it was known."""
    older = [name for name in names if getattr(codes.SCT, name).value in mapping["SCT"]]
    return [(name, "SCT") for name in names] + [(name, "SRT") for name in older]


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "OT", "SC", "", None])
def test_projection_radiography_and_secondary_capture_are_read(modality):
    radiograph = read(dicom(GREY, Modality=modality))
    assert (radiograph.format, radiograph.bits, radiograph.warnings) == ("DICOM", 8, ())
    assert np.array_equal(radiograph.pixels, GREY)


SOP_CLASSES = [
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
]


@pytest.mark.parametrize("sop_class", SOP_CLASSES)
def test_every_object_that_holds_radiographs_is_read(sop_class):
    assert np.array_equal(pixels_of(dicom(GREY, SOPClassUID=sop_class)), GREY)


@pytest.mark.parametrize("modality", ["CT", "MR", "MG", "US", "NM", "PT", "SEG"])
def test_other_modality_is_refused_and_named(modality):
    file = dicom(GREY, Modality=modality)
    assert refusal(file) == "not_frontal_chest"
    assert modality in refusal_text(file)


def test_unknown_modality_is_refused_and_not_repeated():
    assert refusal(dicom(GREY, Modality=CANARY)) == "not_frontal_chest"
    assert CANARY not in refusal_text(dicom(GREY, Modality=CANARY))


CHEST_NAMES = ["CHEST", "chest", "THORAX", "LUNG", "PORT CHEST", "RIBS", "", None]


@pytest.mark.parametrize("part", CHEST_NAMES)
def test_chest_is_read_by_its_many_names(part):
    assert warning_codes(dicom(GREY, BodyPartExamined=part)) == []


@pytest.mark.parametrize("part", OTHER_THAN_CHEST)
def test_other_body_part_is_refused(part):
    assert refusal(dicom(GREY, BodyPartExamined=part)) == "not_frontal_chest"


def test_unknown_body_part_is_read_with_a_warning():
    assert warning_codes(dicom(GREY, BodyPartExamined="XYZZY")) == ["unknown_body_part"]


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LAT", "lateral"])
def test_lateral_view_is_refused(view):
    assert refusal(dicom(GREY, ViewPosition=view)) == "not_frontal_chest"


@pytest.mark.parametrize("view", ["PA", "AP", "", None])
def test_frontal_and_unnamed_views_are_read(view):
    assert warning_codes(dicom(GREY, ViewPosition=view)) == []


@pytest.mark.parametrize(("name", "scheme"), in_both(LATERAL + OBLIQUE))
def test_lateral_or_oblique_view_named_by_its_code_alone_is_refused(name, scheme):
    file = dicom(GREY, ViewPosition=None, ViewCodeSequence=[coded(name, scheme)])
    assert refusal(file) == "not_frontal_chest"
    assert "ViewCodeSequence" in refusal_text(file)


@pytest.mark.parametrize(("name", "scheme"), in_both(FRONTAL))
def test_frontal_view_named_by_its_code_is_read(name, scheme):
    assert warning_codes(dicom(GREY, ViewCodeSequence=[coded(name, scheme)])) == []


@pytest.mark.parametrize("items", [[], [Dataset()], [item("R-10206-X", "99LOCAL")]])
def test_view_code_that_says_nothing_known_is_read(items):
    assert warning_codes(dicom(GREY, ViewCodeSequence=items)) == []


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_view_code_is_found_in_a_sequence_of_undefined_length(syntax):
    views = DataElement("ViewCodeSequence", "SQ", [coded("LeftLateral", "SCT")])
    views.is_undefined_length = True
    file = dicom(GREY, syntax, ViewPosition=None, ViewCodeSequence=views)
    assert refusal(file) == "not_frontal_chest"


@pytest.mark.parametrize("view", ["LLD", "RLD", "LATERAL DECUBITUS"])
def test_a_decubitus_view_is_refused_as_what_it_is(view):
    file = dicom(GREY, ViewPosition=view)
    assert refusal(file) == "not_frontal_chest"
    assert "decubitus" in refusal_text(file)


@pytest.mark.parametrize("view", ["LEFT LATERAL", "Rt Lat"])
def test_view_position_that_contains_lateral_is_refused(view):
    assert refusal(dicom(GREY, ViewPosition=view)) == "not_frontal_chest"


@pytest.mark.parametrize("view", ["RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "OBLIQUE"])
def test_oblique_view_is_refused(view):
    file = dicom(GREY, ViewPosition=view)
    assert refusal(file) == "not_frontal_chest"
    assert "oblique" in refusal_text(file)


@pytest.mark.parametrize(("name", "scheme"), in_both(ELSEWHERE))
@pytest.mark.parametrize("part", ["CHEST", None])
def test_other_region_named_by_its_code_is_refused(name, scheme, part):
    file = dicom(GREY, BodyPartExamined=part, AnatomicRegionSequence=[coded(name, scheme)])
    assert refusal(file) == "not_frontal_chest"


@pytest.mark.parametrize(("name", "scheme"), in_both(CHEST))
def test_chest_named_by_its_code_is_read(name, scheme):
    file = dicom(GREY, BodyPartExamined=None, AnatomicRegionSequence=[coded(name, scheme)])
    assert warning_codes(file) == []


@pytest.mark.parametrize("value", ["51185008", "T-D3000"])
def test_thorax_named_by_its_code_is_read_whatever_its_meaning_is_called(value):
    regions = [item(value, "SCT", "Brustkorb")]
    assert warning_codes(dicom(GREY, BodyPartExamined=None, AnatomicRegionSequence=regions)) == []


def test_region_of_an_unknown_code_is_read_with_a_warning_unless_the_chest_is_named_too():
    regions = [item("X1", "99LOCAL")]
    unnamed = dicom(GREY, BodyPartExamined=None, AnatomicRegionSequence=regions)
    assert warning_codes(unnamed) == ["unknown_body_part"]
    assert warning_codes(dicom(GREY, AnatomicRegionSequence=regions)) == []


@pytest.mark.parametrize(
    "tags",
    [
        {"PresentationIntentType": "FOR PROCESSING"},
        {"SOPClassUID": DigitalXRayImageStorageForProcessing},
    ],
)
def test_raw_data_of_the_detector_is_read_with_a_warning(tags):
    file = dicom(GREY, **tags)
    assert warning_codes(file) == ["for_processing"]
    assert np.array_equal(pixels_of(file), GREY)


def test_image_for_presentation_is_read_without_a_warning():
    assert warning_codes(dicom(GREY, PresentationIntentType="FOR PRESENTATION")) == []


@pytest.mark.parametrize("modality", ["CR", "OT", None])
@pytest.mark.parametrize(
    "kind",
    [
        CTImageStorage,
        MRImageStorage,
        UltrasoundImageStorage,
        DigitalMammographyXRayImageStorageForPresentation,
        XRayRadiofluoroscopicImageStorage,
    ],
)
def test_sop_class_of_another_modality_is_refused_and_named(kind, modality):
    file = dicom(GREY, SOPClassUID=kind, Modality=modality)
    assert refusal(file) == "not_frontal_chest"
    assert kind.name in refusal_text(file)


@pytest.mark.parametrize(
    "kind",
    [
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        SecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        "1.2.826.0.1.3680043.2.1143.1",
    ],
)
def test_sop_class_of_a_radiograph_and_an_unknown_one_are_read(kind):
    assert warning_codes(dicom(GREY, SOPClassUID=kind)) == []


@pytest.mark.parametrize("keyword", ["ViewCodeSequence", "AnatomicRegionSequence"])
def test_sequence_of_far_too_many_codes_is_refused_as_too_complex(keyword):
    many = [Dataset() for _ in range(MAX_CODES_BYTES // 8 + 1)]
    assert refusal(dicom(GREY, **{keyword: many})) == "too_complex"


@pytest.mark.parametrize(
    "orientation", [["A", "F"], ["P", "F"], ["PL", "FA"], "A", ["F", "P"], ["H", "A"]]
)
def test_orientation_of_a_lateral_is_refused(orientation):
    file = dicom(GREY, ViewPosition=None, PatientOrientation=orientation)
    assert refusal(file) == "not_frontal_chest"
    assert "PatientOrientation" in refusal_text(file)


@pytest.mark.parametrize("orientation", [["L", "F"], ["R", "F"], ["LA", "F"], "", None])
def test_orientation_of_a_frontal_view_and_none_are_read(orientation):
    assert warning_codes(dicom(GREY, ViewPosition=None, PatientOrientation=orientation)) == []
