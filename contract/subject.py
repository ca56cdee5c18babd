"""What a DICOM header says about its image: modality, body part, view, and what it is meant for."""

from typing import Final

from pydicom import uid
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from contract.errors import InputWarning, NotFrontalChest

# Projection radiography, and OT and SC for secondary capture.
_MODALITIES: Final = frozenset({"CR", "DX", "RG", "OT", "SC", ""})
# Repeated in the answer; any other value is not, since a header may hold anything anywhere.
_OTHER_MODALITIES: Final = frozenset("CT MG MR NM PT RF RTDOSE SEG SM US XA".split())
_RADIOGRAPHS: Final = frozenset(
    {
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.DigitalXRayImageStorageForProcessing,
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
"""SOP classes of the same; what is in no dictionary may be a maker's own."""
_CHEST: Final = ("CHEST", "THORAX", "LUNG", "TORAX", "POUMON", "RIB")
# Defined terms of BodyPartExamined (PS3.16, annex L) that a frontal chest radiograph never carries.
_OTHER_PARTS: Final = frozenset(
    "ABDOMEN ABDOMENPELVIS ANKLE ARM BLADDER BRAIN BREAST CALCANEUS CALF CAROTID CLAVICLE COCCYX "
    "COLON CSPINE ELBOW EXTREMITY EYE FACE FEMUR FINGER FOOT FOREARM HAND HEAD "
    "HEADNECK HIP HUMERUS JAW KIDNEY KNEE LEG LIVER LSPINE MAXILLA MOUTH NECK NOSE ORBIT "
    "PANCREAS PATELLA PELVIS RADIUS ULNA SCAPULA SHOULDER SINUS SKULL SPINE SSPINE TSPINE TIBIA "
    "TOE THIGH TLSPINE WHOLEBODY WRIST ZYGOMA".split()
)
# Codes of SNOMED CT and, of files before 2017, of SNOMED RT; no code is in both.
# Chest, thorax, lung, apex of the lung, rib.
_CHEST_CODES: Final = frozenset(
    "816094009 51185008 T-D3000 39607008 T-28000 86598002 T-280A0 113197003 T-11300".split()
)
# Regions of projection radiography (PS3.16, CID 4009) that are those parts.
_OTHER_CODES: Final = frozenset(
    # Abdomen, pelvis, both, breast, whole body.
    "818981001 113345001 T-D4000 816092008 12921003 T-D6000 818982008 76752008 T-04000 "
    "38266002 T-D0010 "
    # Head, with neck, neck, skull, face, its bones, jaw, mandible, maxilla.
    "69536005 T-D1100 774007 T-D1000 45048000 T-D1600 89546000 T-11100 89545001 T-D1200 "
    "91397008 T-11196 661005 T-D1213 91609006 T-11180 70925003 T-11170 "
    # Nasal bone, paranasal sinus, orbit, eye, zygoma.
    "74386004 T-11149 2095001 T-22000 363654007 T-D14AE 81745001 T-AA000 13881006 T-11166 "
    # Spine: all, cervical, thoracic, lumbar, thoracolumbar, lumbosacral, sacrum, coccyx.
    "421060004 T-D04FF 122494005 T-11501 122495006 T-11502 122496007 T-11503 1217256009 "
    "1217253001 54735007 T-11AD0 64688005 T-11BF0 "
    # Shoulder, clavicle, scapula, upper limb, upper arm, humerus, elbow.
    "16982005 T-D2220 51299004 T-12310 79601000 T-12280 53120007 T-D8000 40983000 T-D8200 "
    "85050009 T-12410 16953009 T-15430 "
    # Forearm, radius, ulna, wrist, hand, finger, thumb.
    "14975008 T-D8500 62413002 T-12420 23416004 T-12430 74670003 T-15460 85562004 T-D8700 "
    "7569003 T-D8800 76505004 T-D8810 "
    # Limb, lower limb, hip, its joint, thigh, femur, knee, patella.
    "66019005 T-D0300 61685007 T-D9000 29836001 T-D2500 24136001 T-15710 68367000 T-D9100 "
    "71341001 T-12710 72696002 T-D9200 64234005 T-12730 "
    # Lower leg, tibia, fibula, ankle, calcaneus, foot, toe.
    "30021000 T-D9400 12611008 T-12740 87342007 T-12750 70258002 T-15750 80144004 T-12770 "
    "56459004 T-D9700 29707007 T-D9800".split()
)
_LATERAL: Final = frozenset({"LL", "RL"})
_DECUBITUS: Final = frozenset({"LLD", "RLD"})
_OBLIQUE: Final = frozenset("RLO LLO RAO LAO RPO LPO".split())
# Views of projection radiography (PS3.16, CID 4010): lateral, left, right, mediolateral,
# lateromedial, sagittal.
_LATERAL_CODES: Final = frozenset(
    "399067008 R-102CD 399173006 R-10236 399198007 R-10232 399260004 R-10224 399352003 R-10228 "
    "30730003 G-A145".split()
)
# Oblique, right, left, anterior right and left, posterior right and left, of AP, PA and frontal.
_OBLIQUE_CODES: Final = frozenset(
    "399182000 R-102C1 399236003 R-10234 399184004 R-10238 399356000 R-40985 399135007 R-10220 "
    "399038007 R-10210 399006002 R-10212 399312000 R-10208 399059000 R-10216 "
    "399160007 R-10204".split()
)


def check_subject(dataset: Dataset, warnings: list[InputWarning]) -> None:
    """Refuse what the header itself says is no frontal chest radiograph.

    Raises NotFrontalChest for another modality or body part and for lateral and oblique views. An
    unknown body part and raw data of the detector are warned of.
    """
    modality = _word(dataset.get("Modality"))
    if modality not in _MODALITIES:
        known = f" {modality}" if modality in _OTHER_MODALITIES else ""
        raise NotFrontalChest(
            f"The modality{known} is not projection radiography; send CR, DX or secondary capture."
        )
    kind = str(dataset.get("SOPClassUID"))
    if kind in UID_dictionary and kind not in _RADIOGRAPHS:
        raise NotFrontalChest(
            f"The SOP class is {uid.UID(kind).name}; send CR, DX or secondary capture."
        )
    _check_part(dataset, warnings)
    _check_view(dataset)
    intent = _word(dataset.get("PresentationIntentType"))
    raw = uid.DigitalXRayImageStorageForProcessing
    if intent == "FORPROCESSING" or dataset.get("SOPClassUID") == raw:
        warnings.append(
            InputWarning(
                "for_processing",
                "The image is raw data of the detector (FOR PROCESSING), not what a reader sees; "
                "send the image FOR PRESENTATION.",
            )
        )


def _check_part(dataset: Dataset, warnings: list[InputWarning]) -> None:
    part = _word(dataset.get("BodyPartExamined"))
    regions = dataset.get("AnatomicRegionSequence") or []
    codes = _codes(regions)
    if part in _OTHER_PARTS:
        raise NotFrontalChest("BodyPartExamined names another part than the chest.")
    if codes & _OTHER_CODES and not codes & _CHEST_CODES:
        raise NotFrontalChest("AnatomicRegionSequence names another part than the chest.")
    names = [part, *(_word(_text(region, "CodeMeaning")) for region in regions)]
    is_chest = bool(codes & _CHEST_CODES) or any(term in name for name in names for term in _CHEST)
    if (part or codes) and not is_chest:
        warnings.append(
            InputWarning("unknown_body_part", "The body part is no term known for the chest.")
        )


def _check_view(dataset: Dataset) -> None:
    position = _word(dataset.get("ViewPosition"))
    codes = _codes(dataset.get("ViewCodeSequence") or [])
    for view, named, coded in (
        ("decubitus", position in _DECUBITUS or "DECUB" in position, frozenset[str]()),
        ("lateral", position in _LATERAL or "LAT" in position, _LATERAL_CODES),
        ("oblique", position in _OBLIQUE or "OBL" in position, _OBLIQUE_CODES),
    ):
        if named or codes & coded:
            keyword = "ViewPosition" if named else "ViewCodeSequence"
            raise NotFrontalChest(f"{keyword} is {view}; send the PA or AP view.")

    # Only in a lateral do rows or columns run to the front or the back first (PS3.3, C.7.6.1.1.1).
    towards = dataset.get("PatientOrientation") or ()
    for direction in (towards,) if isinstance(towards, str) else towards:
        if str(direction)[:1].upper() in ("A", "P"):
            raise NotFrontalChest(
                "PatientOrientation is that of a lateral; send the PA or AP view."
            )


def _codes(items: list[Dataset]) -> set[str]:
    return {_text(item, "CodeValue").strip() for item in items} - {""}


def _text(item: Dataset, keyword: str) -> str:
    """Return a text of a code, empty where it is longer than any (64 characters; PS3.5, 6.2).

    Millions of values in one text would be taken apart before they could be looked at.
    """
    raw = item.get_item(keyword)
    return "" if raw is None or len(raw.value or b"") > 256 else str(item.get(keyword) or "")


def _word(value: object) -> str:
    """Return a code string without case, blanks and punctuation."""
    return "".join(c for c in str(value or "").upper() if c.isalnum())
