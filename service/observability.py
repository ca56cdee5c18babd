"""Request ids and JSON logs without patient data.

A log line holds what the service made itself: never a path, query, header or file name as sent, nor
the message of an unexpected exception, since each may repeat what a header of the image says.
"""

import json
import logging
import time
import traceback
import uuid
from collections.abc import Callable, Collection
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.headers import security_headers

_LOG: Final = logging.getLogger("xpro")
# Route, status, code and seconds of a request, as in the log.
_Count = Callable[[str | None, int, str | None, float], None]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, event and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        time_utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        fields: dict[str, Any] = getattr(record, "fields", {})
        line = {"time": time_utc, "level": record.levelname.lower(), "event": record.getMessage()}
        if record.exc_info and record.exc_info[1]:
            fields = {**fields, **_describe(record.exc_info[1])}
        return json.dumps({**line, **fields})


def configure_logging() -> None:
    """Write the service's own events and uvicorn's warnings to standard error as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOG.setLevel(logging.INFO)
    # It quotes bytes of the body.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def log_event(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event of the service with fields that hold no data of a request."""
    _LOG.log(level, event, extra={"fields": fields})


def log_failure(request_id: str, error: BaseException) -> None:
    """Log where an unexpected exception came from, by type and code lines, without its message."""
    _LOG.error("failure", extra={"fields": {"request_id": request_id, **_describe(error)}})


def _describe(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
    return {"error": type(error).__name__, "at": places}


class RequestLog:
    """Gives every request an id, its own and never the client's, counts it and logs one line.

    `paths`: those of the application without a part that changes, so that a request refused before
    it was routed is told by its path too.
    """

    def __init__(self, app: ASGIApp, count: _Count, paths: Collection[str]) -> None:
        self._app = app
        self._count = count
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [
                    (b"x-request-id", request_id.encode()),
                    *security_headers(scope, message["headers"]),
                ]
                if scope["app"].state.service.draining:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            took_s = time.monotonic() - started
            route, code = self._route(scope), scope["state"].get("code")
            self._count(route, status, code, took_s)
            log_event(
                "request",
                request_id=request_id,
                method=scope["method"] if scope["method"] in ("GET", "POST", "HEAD") else "other",
                route=route,
                status=status,
                code=code,
                client=scope["state"].get("client"),
                sha256=scope["state"].get("sha256"),
                model=scope["state"].get("model"),
                duration_ms=round(took_s * 1000, 1),
            )

    def _route(self, scope: Scope) -> str | None:
        if scope["path"] in self._paths:
            return str(scope["path"])
        return getattr(scope.get("route"), "path", None)
