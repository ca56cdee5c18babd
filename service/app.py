"""The application: lifespan and routes are wired here and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service import __version__, problems, routes, status
from service.documentation import complete_document
from service.guard import Guard, needed_scope
from service.key_file import KeyFile
from service.metrics import Metrics, StateCollector
from service.model import Model
from service.observability import RequestLog, log_event
from service.page import page_router
from service.reload import follow_versions
from service.settings import Settings
from service.state import State
from service.unread import UnreadBodies

_DESCRIPTION = """
Post a frontal chest radiograph (PNG, JPEG or DICOM) to `/predict` and get the probabilities of 14
findings, to `/explain` and see where the network looked, to `/radiograph` and get it back as a PNG;
`/` is a page that does all of it. For research and evaluation only; not a medical device.
"""


def create_app(settings: Settings, model: Model, keys: KeyFile | None = None) -> FastAPI:
    """Build the application around a loaded model; workers start with its lifespan.

    `keys`: who may use it; None for everyone.
    """
    metrics = Metrics()
    app: FastAPI = FastAPIOffline(
        title="X-Pro",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lambda app: _run(app, settings, model, keys),
        redoc_url=None,
        redirect_slashes=False,
        # It would hand paths and messages of exceptions to whatever collector the process finds.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for route in app.routes:  # those of the document and its page, which know GET only
        if isinstance(route, Route) and route.methods:
            route.methods.add("HEAD")
        elif isinstance(route, Mount):
            route.app = _without_ranges(route.app)
    app.state.metrics = metrics
    routers = (routes.router, status.router, page_router())
    for router in routers:
        # include_router would look requests up router by router: some 3 % of the event loop's time.
        app.router.routes.extend(router.routes)
    paths = _paths(app, *routers)
    metrics.expect_failures(paths)
    problems.install(app)
    complete_document(app)
    app.add_middleware(Guard, settings=settings, keys=keys, lined=_paths(routes.router))
    app.add_middleware(problems.UnexpectedErrors)
    app.add_middleware(
        RequestLog,
        count=metrics.count_request,
        paths=paths,
        is_routine=lambda path: needed_scope(path) in (None, "metrics"),
    )
    app.add_middleware(UnreadBodies, timeout_s=settings.upload_timeout_s)
    return app


@asynccontextmanager
async def _run(
    app: FastAPI, settings: Settings, model: Model, keys: KeyFile | None
) -> AsyncIterator[None]:
    metrics: Metrics = app.state.metrics
    state = app.state.service = State.start(settings, model, metrics.queue_wait.observe)
    metrics.registry.register(StateCollector(state, keys))
    watches = [
        asyncio.create_task(state.decoder.watch()),
        asyncio.create_task(follow_versions(state, metrics)),
    ]
    log_event(
        "ready",
        model=model.bundle.name,
        version=model.bundle.version,
        digest=model.bundle.digest,
        engine=model.engine.name,
        precision=model.engine.precision,
        streams=settings.streams,
        address=settings.address if settings.port else None,  # `bound` tells
        keys=keys is not None,
    )
    try:
        yield
    finally:
        for watch in watches:
            watch.cancel()
        state.close()
        log_event("stopped")


def _without_ranges(files: ASGIApp) -> ASGIApp:
    """Have files sent whole: Starlette answers a wrong range in a form that is not ours."""

    async def send_whole(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await files({**scope, "headers": headers}, receive, send)

    return send_whole


def _paths(*routed: FastAPI | APIRouter) -> set[str]:
    return {route.path for each in routed for route in each.routes if isinstance(route, Route)}
