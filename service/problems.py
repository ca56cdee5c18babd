"""Exception -> problem document (RFC 9457), in one table."""

import asyncio
from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract.errors import InputError, UnsupportedFormat
from service.decode_errors import NoDecoder
from service.observability import log_failure
from service.scheduling import LineFull
from service.uploads import UploadError

MEDIA_TYPE: Final = "application/problem+json"

TITLES: Final = {
    400: "The request is malformed",
    401: "A key is needed",
    403: "This is not allowed",
    404: "Not found",
    405: "Method not allowed here",
    408: "The body took too long",
    413: "The body is too large",
    415: "Unsupported format",
    421: "The request is for another host",
    422: "The file cannot be used",
    429: "Too many requests",
    431: "The headers are too large",
    500: "The service failed",
    503: "The service is not available now",
}
_HTTP_CODES: Final = {404: "not_found", 405: "method_not_allowed"}
_HTTP_DETAILS: Final = {
    404: "Post images to /predict; /docs lists every path.",
    405: "The header Allow lists the methods of this path.",
}


def respond(
    request: Request,
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Make a problem document with a stable code and what to do about it."""
    request.state.code = code
    body = {
        "type": "about:blank",
        "title": TITLES.get(status, "The request failed"),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request.state.request_id,
    }
    return JSONResponse(body, status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every exception of the application with a problem document."""
    app.add_exception_handler(InputError, _input)
    app.add_exception_handler(UploadError, _upload)
    app.add_exception_handler(LineFull, _unavailable)
    app.add_exception_handler(NoDecoder, _unavailable)
    app.add_exception_handler(RequestValidationError, _parameter)
    app.add_exception_handler(HTTPException, _http)


async def _input(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InputError)
    status = 415 if isinstance(error, UnsupportedFormat) else 422
    return respond(request, status, error.code, str(error))


async def _upload(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UploadError)
    return respond(request, error.status, error.code, str(error), error.headers)


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LineFull | NoDecoder)
    headers = {"Retry-After": str(error.retry_after_s)}
    return respond(request, 503, error.code, str(error), headers)


async def _parameter(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][:2])
    return respond(request, 400, "invalid_parameter", f"{place}: {first['msg']}.")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = error.status_code
    code = _HTTP_CODES.get(status, f"http_{status}")
    detail = _HTTP_DETAILS.get(status, "The request cannot be answered.")
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":  # of the route that was met first; HEAD has one of its own
        headers["Allow"] = "GET, HEAD"
    return respond(request, status, code, detail, headers)


class UnexpectedErrors:
    """Answers any other exception with a 500 that says nothing of its message."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; an exception after the answer began is logged and ends it."""
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if not begun:  # the time for draining is over
                request = Request(scope)
                detail = "The service is shutting down; try again in a few seconds."
                retry = {"Retry-After": "5"}
                answer = respond(request, 503, "shutting_down", detail, retry)
                await answer(scope, receive, send)
        except ClientDisconnect:
            scope["state"]["code"] = "client_gone"
        except Exception as error:  # noqa: BLE001 - whatever it is, its message stays inside
            request = Request(scope)
            log_failure(request.state.request_id, error)
            detail = "An error of the service, not of the file; report it with this request_id."
            if not begun:
                await respond(request, 500, "internal_error", detail)(scope, receive, send)
