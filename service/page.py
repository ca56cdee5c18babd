"""The page at `/` and its files, served from memory under a policy of their own."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "web"

_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
}


def page_router() -> APIRouter:
    """Read the page's files and make their routes; no other file can ever be asked for."""
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.is_file()}
    router = APIRouter(include_in_schema=False)

    @router.head("/")
    @router.get("/")
    async def page() -> Response:
        return _respond("index.html")

    @router.head("/web/{name}")
    @router.get("/web/{name}")
    async def file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return _respond(name)

    def _respond(name: str) -> Response:
        return Response(files[name], 200, _HEADERS, _MEDIA_TYPES[Path(name).suffix])

    return router
