"""HTTP only: what comes in, what goes out."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from contract.findings import CATALOGUE, FINDINGS
from service.decoding import DecodedInput
from service.documentation import BODY, MODEL, PROBLEMS, describe_png
from service.engine import Outputs
from service.model import Model
from service.rendering import render_overlay, render_png
from service.schemas import Check, Health, Prediction
from service.state import State

router = APIRouter()

_RADIOGRAPH_SIDE: Final = 2048
_OVERLAY_SIDE: Final = 1024
_DISCLAIMER: Final = "For research and evaluation only; not a medical device, not for diagnosis."


class _Png(Response):
    media_type = "image/png"


@router.post(
    "/predict",
    summary="14 probabilities for one radiograph",
    response_model=Prediction,
    responses=PROBLEMS,
    openapi_extra={"requestBody": BODY},
)
async def predict(
    request: Request,
    maps: Annotated[bool, Query(description="also return the class activation maps")] = False,
) -> Response:
    """Post a PNG, JPEG or DICOM file as the one part `file`; its content tells the format."""
    state: State = request.app.state.service
    async with state.uploads.receive(request) as data, state.line.place():
        decoded = await state.decoder.decode(data)
        request.state.model = state.model.bundle.digest
        outputs = await state.inference.infer(decoded.pixels)
    answer = _answer(request, state.model, decoded, outputs)
    if maps:
        by_finding = outputs.activation_maps.transpose(2, 0, 1)
        answer["activation_maps"] = dict(zip(FINDINGS, by_finding.tolist(), strict=True))
    answer["disclaimer"] = f"{_DISCLAIMER} {state.model.bundle.description['intended_use']}"
    return JSONResponse(answer)


def _answer(
    request: Request, model: Model, decoded: DecodedInput, outputs: Outputs
) -> dict[str, Any]:
    # Through str: the shortest decimal that is this float32, so that nothing is added or lost.
    probabilities = [float(str(probability)) for probability in outputs.probabilities]
    facts = {name: getattr(decoded, name) for name in ("format", "width", "height", "bits")}
    warnings = [warning._asdict() for warning in decoded.warnings]
    bundle = model.bundle
    return {
        "request_id": request.state.request_id,
        "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
        "input": {**facts, "sha256": request.state.sha256, "warnings": warnings},
        "probabilities": dict(zip(FINDINGS, probabilities, strict=True)),
        "findings": [
            {
                "finding": finding.name,
                "probability": probability,
                "threshold": threshold,
                "positive": probability >= threshold,
                "codes": {"snomed_ct": finding.snomed_ct, "radlex": finding.radlex},
            }
            for finding, probability, threshold in zip(
                CATALOGUE, probabilities, bundle.thresholds, strict=True
            )
        ],
    }


@router.post(
    "/radiograph",
    summary="The radiograph as it was decoded",
    response_class=_Png,
    responses={200: describe_png("8-bit grey"), **PROBLEMS},
    openapi_extra={"requestBody": BODY},
)
async def radiograph(request: Request) -> Response:
    """Get the file as a grey PNG with DICOM's own grey scale applied, at most 2048 pixels a side.

    Nothing is enlarged. A viewer without a DICOM decoder shows it; the page does.
    """
    state: State = request.app.state.service
    async with state.uploads.receive(request) as data, state.line.place():
        decoded = await state.decoder.decode(data, _RADIOGRAPH_SIDE)
        png = await asyncio.to_thread(render_png, decoded.display)
    return _Png(png)


@router.post(
    "/explain",
    summary="Where the network looked for one finding",
    response_class=_Png,
    responses={200: describe_png("RGB"), **PROBLEMS},
    openapi_extra={"requestBody": BODY},
)
async def explain(
    request: Request,
    finding: Annotated[
        str,
        Query(
            description="whose activation map is laid over the radiograph",
            examples=["Effusion"],
            pattern=f"^({'|'.join(FINDINGS)})$",
            json_schema_extra={"enum": list(FINDINGS)},
        ),
    ],
) -> Response:
    """Get the radiograph with a finding's activation map over it, at most 1024 pixels a side.

    The colours run over the range of this one map: they say where the evidence is strongest, not
    how much there is, and they outline no lesion. `/predict?maps=true` gives the numbers.
    """
    state: State = request.app.state.service
    async with state.uploads.receive(request) as data, state.line.place():
        decoded = await state.decoder.decode(data, _OVERLAY_SIDE)
        request.state.model = state.model.bundle.digest
        outputs = await state.inference.infer(decoded.pixels)
        activation_map = outputs.activation_maps[:, :, FINDINGS.index(finding)]
        png = await asyncio.to_thread(render_overlay, decoded.display, activation_map)
    return _Png(png)


@router.head("/health", include_in_schema=False)
@router.head("/health/ready", include_in_schema=False)
@router.get("/health", response_model=Health, responses={503: {"model": Health}})
@router.get("/health/ready", response_model=Health, responses={503: {"model": Health}})
async def ready(request: Request) -> Response:
    """200 while requests are answered; 503 with each check from the moment draining begins."""
    state: State = request.app.state.service
    engine = state.model.engine.name
    checks = {
        "model": Check(ok=True, detail=f"verified, golden examples replayed by {engine}"),
        "decoding": Check(ok=state.decoder.alive(), detail="worker processes"),
        "accepting": Check(
            ok=not state.draining, detail="draining" if state.draining else "open for requests"
        ),
    }
    ok = all(check.ok for check in checks.values())
    health = Health(status="ok" if ok else "unavailable", checks=checks)
    return JSONResponse(health.model_dump(), 200 if ok else 503)


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> Health:
    """200 while the process answers at all."""
    return Health(status="ok", checks={"process": Check(ok=True, detail="answers")})


@router.get("/model", summary="The bundle's description", responses=MODEL)
async def model(request: Request) -> dict[str, Any]:
    """Describe the served model: findings, thresholds, AUROC, training data, hashes."""
    state: State = request.app.state.service
    return dict(state.model.bundle.description)
