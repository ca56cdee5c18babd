"""Request ids and JSON logs without patient data.

A log line holds what the service made itself: never a path, query, header or file name as sent, nor
the message of an unexpected exception, since each may repeat what a header of the image says.
"""

import json
import logging
import select
import time
import traceback
import uuid
from collections.abc import Callable, Collection
from typing import Any, Final, TextIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.headers import security_headers
from service.token_bucket import TokenBucket

_LOG: Final = logging.getLogger("xpro")
_STRANGERS_LINES: Final = 100
_STRANGERS_LINES_PER_S: Final = 10
"""Of refusals that tell of no client and no file; as many at once, and then so many a second."""

# Route, status and code of a request as in the log; seconds of its upload, and from there on.
_Count = Callable[[str | None, int, str | None, float, float], None]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, event and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        time_utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        fields: dict[str, Any] = getattr(record, "fields", {})
        line = {"time": time_utc, "level": record.levelname.lower(), "event": record.getMessage()}
        if record.exc_info and record.exc_info[1]:
            fields = {**fields, **_describe(record.exc_info[1])}
        return json.dumps({**line, **fields})


class _NonBlockingHandler(logging.StreamHandler[TextIO]):
    """Leaves lines out where standard error takes none, and then says how many.

    A reader that stands still would hold the event loop otherwise, and with it every answer.
    """

    _lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self._lost and _takes_a_line(self.stream):
            facts = {"levelname": "WARNING", "fields": {"lines": self._lost}}
            super().emit(logging.makeLogRecord({"msg": "log_lines_lost", **facts}))
            self._lost = 0
        if _takes_a_line(self.stream):
            super().emit(record)
        else:
            self._lost += 1


def _takes_a_line(stream: TextIO) -> bool:
    """Whether a write of up to 4 KiB does not wait: a pipe is ready while it has so much room."""
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    return bool(poll.poll(0))


def configure_logging() -> None:
    """Write the service's own events and uvicorn's warnings to standard error as JSON lines."""
    handler = _NonBlockingHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # What no line holds need not be looked for (Logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    _LOG.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_is_allowed)
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


class _Allowance:
    """Log lines for what strangers send; counts what has none."""

    def __init__(self) -> None:
        self._bucket, self._beyond = TokenBucket(), 0

    def take(self) -> bool:
        """Return whether there is a line to have."""
        wait_s = self._bucket.take(_STRANGERS_LINES, _STRANGERS_LINES_PER_S)
        self._beyond += wait_s > 0
        return wait_s == 0

    def report(self) -> int:
        """Return how many lines were not to be had since the last report."""
        beyond, self._beyond = self._beyond, 0
        return beyond


_STRANGERS: Final = _Allowance()


def _tell_unlogged() -> None:
    if unlogged := _STRANGERS.report():
        log_event("refusals_not_logged", logging.WARNING, requests=unlogged)


def _is_allowed(record: logging.LogRecord) -> bool:
    """Whether uvicorn may warn: it does for every request that is no HTTP."""
    if record.levelno == logging.WARNING and not _STRANGERS.take():
        return False
    _tell_unlogged()
    return True


class RequestLog:
    """Gives every request an id, its own and never the client's, counts it and logs one line.

    `paths`: those of the application without a part that changes, so that a request refused before
    it was routed is told by its path too. `is_routine`: of which paths an answer is only counted:
    probes every few seconds would push the lines of files out of a log that rotates. So would a
    stranger's requests: of refusals that tell of no client and no file only some have a line.
    """

    def __init__(
        self,
        app: ASGIApp,
        count: _Count,
        paths: Collection[str],
        is_routine: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._count = count
        self._paths = paths
        self._is_routine = is_routine

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
            self._note(scope, status, started)

    def _note(self, scope: Scope, status: int, started: float) -> None:
        """Count a request that has ended; log it unless it is routine."""
        state, ended = scope["state"], time.monotonic()
        uploaded = state.get("uploaded", started)
        route, code = self._route(scope), state.get("code")
        self._count(route, status, code, uploaded - started, ended - uploaded)
        if code is None and 0 < status < 400 and self._is_routine(scope["path"]):
            return
        known = "client" in state or "sha256" in state
        if not known and (400 <= status < 500 or status == 503) and not _STRANGERS.take():
            return
        _tell_unlogged()
        method = scope["method"]
        log_event(
            "request",
            request_id=state["request_id"],
            method=method if method in ("GET", "POST", "HEAD") else "other",
            route=route,
            status=status,
            code=code,
            client=state.get("client"),
            sha256=state.get("sha256"),
            model=state.get("model"),
            duration_ms=round((ended - started) * 1000, 1),
        )

    def _route(self, scope: Scope) -> str | None:
        if scope["path"] in self._paths:
            return str(scope["path"])
        return getattr(scope.get("route"), "path", None)
