"""What is asked about the service itself: health, the model, figures."""

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service.documentation import METRICS, MODEL
from service.schemas import Check, Health
from service.state import State

router = APIRouter()


@router.head("/health", include_in_schema=False)
@router.head("/health/ready", include_in_schema=False)
@router.get("/health", response_model=Health, responses={503: {"model": Health}})
@router.get("/health/ready", response_model=Health, responses={503: {"model": Health}})
async def ready(request: Request) -> Response:
    """200 while requests are answered; 503 with each check from the moment draining begins."""
    state: State = request.app.state.service
    version, engine = state.model.bundle.version, state.model.engine
    detail = f"version {version} verified, golden examples replayed by {engine.name}"
    detail += f" in {engine.precision}"
    if state.refused is not None:
        detail += "; what the model folder holds now was refused, the log says why"
    checks = {
        "model": Check(ok=True, detail=detail),
        "decoding": Check(ok=state.decoder.alive(), detail="worker processes"),
        "accepting": Check(
            ok=not state.draining, detail="draining" if state.draining else "open for requests"
        ),
    }
    ok = all(check.ok for check in checks.values())
    if not ok:
        request.state.code = "not_ready"
    health = Health(status="ok" if ok else "unavailable", checks=checks)
    return JSONResponse(health.model_dump(), 200 if ok else 503)


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> Health:
    """200 while the process answers at all."""
    return Health(status="ok", checks={"process": Check(ok=True, detail="answers")})


@router.head("/model", include_in_schema=False)
@router.get(
    "/model", summary="The bundle's description and the precision that answers", responses=MODEL
)
async def model(request: Request) -> dict[str, Any]:
    """Describe the served model: findings, thresholds, AUROC, training data, hashes.

    `precision` says which of its networks answers here; everything else is the bundle's own.
    """
    state: State = request.app.state.service
    served = state.model
    return {**served.bundle.description, "precision": served.engine.precision}


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    responses=METRICS,
)
async def metrics(request: Request) -> Response:
    """Get counters, histograms and gauges in Prometheus' text format."""
    return Response(
        generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST
    )
