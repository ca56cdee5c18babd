"""What is asked about a radiograph: HTTP only, what comes in and what goes out."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from contract.findings import CATALOGUE, FINDINGS
from service.decoding import DecodedInput
from service.documentation import BODY, describe_png
from service.engine import Outputs
from service.model import Model
from service.problem_examples import PROBLEMS
from service.rendering import render_overlay, render_png
from service.schemas import Prediction
from service.turn import take_turn

router = APIRouter()

_RADIOGRAPH_SIDE: Final = 2048
_OVERLAY_SIDE: Final = 1024
_PIECE: Final = 64 << 10
_DISCLAIMER: Final = "For research and evaluation only; not a medical device, not for diagnosis."


class _Png(Response):
    media_type = "image/png"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it piece by piece, so that what a client does not take is held here and counted."""
        request = Request(scope, receive)
        with request.app.state.service.uploads.hold_answer(request, len(self.body)):
            status, headers = self.status_code, self.raw_headers
            await send({"type": "http.response.start", "status": status, "headers": headers})
            for start in range(0, len(self.body), _PIECE):
                piece = bytes(self.body[start : start + _PIECE])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})


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
    async with take_turn(request) as turn:
        decoded = await turn.decode()
        outputs = await turn.infer(decoded)
    turn.metrics.probabilities.observe(outputs.probabilities)
    answer = _answer(request.state.request_id, turn.model, decoded, outputs)
    if maps:
        by_finding = outputs.activation_maps.transpose(2, 0, 1)
        answer["activation_maps"] = dict(zip(FINDINGS, by_finding.tolist(), strict=True))
    answer["disclaimer"] = _disclaim(turn.model)
    return JSONResponse(answer)


def _disclaim(model: Model) -> str:
    return f"{_DISCLAIMER} {model.bundle.description['intended_use']}"


def _answer(
    request_id: str, model: Model, decoded: DecodedInput, outputs: Outputs
) -> dict[str, Any]:
    # Through str: the shortest decimal that is this float32, so that nothing is added or lost.
    probabilities = [float(str(probability)) for probability in outputs.probabilities]
    names = ("format", "width", "height", "bits", "sha256")
    facts = {name: getattr(decoded, name) for name in names}
    warnings = [warning._asdict() for warning in decoded.warnings]
    return {
        "request_id": request_id,
        "model": model.identity(),
        "input": {**facts, "warnings": warnings},
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
                CATALOGUE, probabilities, model.bundle.thresholds, strict=True
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
    async with take_turn(request) as turn:
        decoded = await turn.decode(_RADIOGRAPH_SIDE)
        await turn.check_client()
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
    how much there is, and they outline no lesion. `/predict?maps=true` gives the numbers. What
    the model is stands in the file as PNG text `Disclaimer`.
    """
    async with take_turn(request) as turn:
        decoded = await turn.decode(_OVERLAY_SIDE)
        outputs = await turn.infer(decoded)
        activation_map = outputs.activation_maps[:, :, FINDINGS.index(finding)]
        await turn.check_client()
        text = _disclaim(turn.model)
        png = await asyncio.to_thread(render_overlay, decoded.display, activation_map, text)
    return _Png(png)
