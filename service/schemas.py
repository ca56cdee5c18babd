"""What the service answers, with units and examples."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from contract.bundle import Precision
from contract.findings import CATALOGUE, FINDINGS

_EXAMPLE: Final = dict(
    zip(
        FINDINGS,
        (0.21, 0.03, 0.41, 0.002, 0.19, 0.06, 0.07, 0.2, 0.04, 0.04, 0.01, 0.02, 0.02, 0.05),
        strict=True,
    )
)
_THRESHOLD: Final = 0.12
_MAP_EXAMPLE: Final = [[0.12, -0.4], [1.7, 0.3]]

Probability = Annotated[float, Field(ge=0, le=1)]


EXAMPLES: Final = {
    "probabilities": _EXAMPLE,
    "findings": [
        {
            "finding": finding.name,
            "probability": _EXAMPLE[finding.name],
            "threshold": _THRESHOLD,
            "positive": _EXAMPLE[finding.name] >= _THRESHOLD,
            "codes": {"snomed_ct": finding.snomed_ct, "radlex": finding.radlex},
        }
        for finding in CATALOGUE
    ],
    "activation_maps": dict.fromkeys(FINDINGS, _MAP_EXAMPLE),
}
"""Of fields of Prediction; pydantic would sort them, and FastAPI leave nulls out."""


def _by_finding() -> dict[str, Any]:
    """JSON schema of an object with one entry for each finding, in their order."""
    names = list(FINDINGS)
    return {"propertyNames": {"enum": names}, "required": names}


class ModelIdentity(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["xpro-demo"])
    version: str = Field(examples=["1"])
    digest: str = Field(
        pattern="^sha256:[0-9a-f]{64}$",
        description="SHA-256 over the bundle's description and, through it, over all its files",
        examples=["sha256:5f1d7b6e0c9a4d2f8b3e6a1c7d9f0b2e4a6c8d1f3b5e7a9c0d2f4b6e8a1c3d5f"],
    )
    precision: Precision = Field(description="of the bundle's networks, which one answered")


class Warning_(BaseModel):  # noqa: N801 - Warning is a name of Python
    """Something about a usable file that its sender should know."""

    model_config = ConfigDict(title="Warning")

    code: str = Field(
        description="stable, for programs: colour_image, transparent_image, partial_range, "
        "grey_end, unusable_window, contradicting_lut, contradicting_polarity, unknown_body_part "
        "or for_processing; later versions may know more",
        examples=["colour_image"],
    )
    detail: str = Field(examples=["The image has colours; a radiograph is grey."])


class InputFacts(BaseModel):
    """What the file was found to be."""

    format: Literal["PNG", "JPEG", "DICOM"] = Field(description="told by content, never by name")
    width: int = Field(ge=1, description="pixels", examples=[1024])
    height: int = Field(ge=1, description="pixels", examples=[1024])
    bits: int = Field(ge=1, le=16, description="significant bits of a grey value", examples=[8])
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="of the file as received", examples=["0f3a" * 16]
    )
    warnings: list[Warning_]


class Codes(BaseModel):
    """Codes of a finding, null where none is verified."""

    snomed_ct: str | None = Field(description="SNOMED CT concept id", examples=["60046008"])
    radlex: str | None = Field(description="RadLex id", examples=["RID34539"])


class FindingAnswer(BaseModel):
    """One finding with its own call."""

    finding: str = Field(examples=["Effusion"], json_schema_extra={"enum": list(FINDINGS)})
    probability: Probability = Field(description="calibrated", examples=[0.41])
    threshold: Probability = Field(
        description="of this finding, from the bundle", examples=[_THRESHOLD]
    )
    positive: bool = Field(description="probability is at least threshold", examples=[True])
    codes: Codes


class Prediction(BaseModel):
    """The answer about one radiograph."""

    request_id: str = Field(examples=["4b1fa0f6f0d94c1b8a53c4d0f7e2a9b1"])
    model: ModelIdentity
    input: InputFacts
    probabilities: dict[str, Probability] = Field(
        description="by finding, always in the same order", json_schema_extra=_by_finding()
    )
    findings: list[FindingAnswer] = Field(
        description="the same with thresholds, calls and codes, in the same order",
        min_length=len(FINDINGS),
        max_length=len(FINDINGS),
    )
    activation_maps: dict[str, list[list[float]]] | None = Field(
        default=None,
        description="with ?maps=true only: by finding, rows of the class activation map over the "
        "whole radiograph, in logits; their mean is the finding's raw logit",
        json_schema_extra=_by_finding(),
    )
    disclaimer: str = Field(examples=["For research and evaluation only; not a medical device."])


class Check(BaseModel):
    """One condition of readiness."""

    ok: bool
    detail: str = Field(examples=["golden examples replayed by openvino in int8"])


class Health(BaseModel):
    """Whether the service answers requests, with each condition named."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, Check] = Field(
        examples=[{"model": {"ok": True, "detail": "golden examples replayed by openvino in int8"}}]
    )


class Problem(BaseModel):
    """An error (RFC 9457): what was wrong and what to do about it."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["The file cannot be used"])
    status: int = Field(ge=400, le=599, examples=[422])
    code: str = Field(
        description="stable, for programs; the examples of each answer are all there are, and "
        "later versions may know more",
        examples=["too_small"],
    )
    detail: str = Field(
        description="for people",
        examples=["The image is 64 x 64 pixels; a radiograph needs at least 128 on each side."],
    )
    request_id: str = Field(examples=["4b1fa0f6f0d94c1b8a53c4d0f7e2a9b1"])
