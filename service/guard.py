"""Before the body is read: is the host ours, who asks and how often, is there a place in the line.

A plain ASGI layer, since a dependency of a route would run after the body had arrived.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.key_file import Key, KeyFile
from service.problems import respond
from service.scheduling import LineFull
from service.settings import Settings, is_address
from service.token_bucket import TokenBucket

MAX_HEADERS_BYTES: Final = 16 * 1024
"""Target and headers of a request together."""

_OPEN: Final = frozenset(
    {"/", "/docs", "/openapi.json", "/health", "/health/live", "/health/ready"}
)
# The page's own files and those of /docs: nothing in them is not in the repository.
_OPEN_BELOW: Final = ("/web/", "/static-offline-docs/")
_HOST: Final = re.compile(r"(\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]*))(:[0-9]*)?")
_CHALLENGE: Final = 'Bearer realm="x-pro"'


class Refused(NamedTuple):
    """Why a request goes no further, as a problem document."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = {}


def needed_scope(path: str) -> str | None:
    """Return the scope that a path asks for; None where it is open to everyone."""
    if path in _OPEN or path.startswith(_OPEN_BELOW):
        return None
    return "metrics" if path == "/metrics" else "predict"


class Guard:
    """Answers requests that may not pass and notes the client's name of those that may.

    `keys`: None where everyone may use the service. `lined`: paths whose POST waits in line; to
    refuse one here costs less than in its route, and a full service refuses many.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, keys: KeyFile | None, lined: Collection[str]
    ) -> None:
        self._app = app
        self._lined = lined
        self._hosts = {"localhost", settings.host.lower(), *settings.allowed_hosts}
        self._keys = keys
        self._rates = _Rates(settings.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            refused = self._check(scope)
            if refused is not None:
                answer = respond(Request(scope), *refused)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> Refused | None:
        headers = scope["headers"]
        size = len(scope["raw_path"]) + len(scope["query_string"])
        if size + sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS_BYTES:
            limit = f"{MAX_HEADERS_BYTES // 1024} KiB"
            return Refused(431, "headers_too_large", f"Send less than {limit} of headers and URL.")
        if not self._is_ours(_values(headers, b"host")):
            detail = "The service does not answer to this Host; XPRO_ALLOWED_HOSTS lists names."
            return Refused(421, "unknown_host", detail)
        needed = needed_scope(scope["path"])
        if needed is None:
            return None
        if _is_of_foreign_page(scope["method"], headers):
            # It could not read the answer, but have the work done.
            return Refused(
                403,
                "foreign_page",
                "The request comes from another site's page; use the service's own page.",
            )
        refused = self._authorise(scope, self._keys, needed) if self._keys else None
        return refused or self._find_place(scope)

    def _find_place(self, scope: Scope) -> Refused | None:
        if scope["method"] != "POST" or scope["path"] not in self._lined:
            return None
        try:
            scope["app"].state.service.line.check()
        except LineFull as error:
            return Refused(503, error.code, str(error), {"Retry-After": str(error.retry_after_s)})
        return None

    def _is_ours(self, hosts: list[bytes]) -> bool:
        """Whether the Host is one of ours, against DNS rebinding.

        A page of a stranger whose name leads here would be of the same origin. It names a name, so
        addresses pass; and browsers always name one, so old probes without Host pass.
        """
        if not hosts or "*" in self._hosts:
            return True
        match = _HOST.fullmatch(hosts[0].decode("latin-1").lower())
        if match is None:
            return False
        name = (match["six"] or match["name"]).removesuffix(".")
        return name in self._hosts or is_address(name)

    def _authorise(self, scope: Scope, keys: KeyFile, needed: str) -> Refused | None:
        given = _values(scope["headers"], b"authorization")
        kind, _, text = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if kind.lower() != b"bearer":
            detail = "Send the header `Authorization: Bearer KEY` with a key of this service."
            return _unauthorised("missing_key", detail, _CHALLENGE)
        key = keys.find(text.strip())
        if key is None:
            detail = "This key is unknown or was revoked; ask for a new one."
            return _unauthorised("unknown_key", detail)
        scope["state"]["client"] = key.client
        if key.expired():
            return _unauthorised("expired_key", "This key has expired; ask for a new one.")
        if not key.allows(needed):
            challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{needed}"'
            detail = f"This key lacks the scope `{needed}`; ask for one that has it."
            return Refused(403, "missing_scope", detail, {"WWW-Authenticate": challenge})
        wait_s = self._rates.take(key)
        if wait_s:
            detail = f"This key is over its rate; try again in {wait_s} s."
            return Refused(429, "rate_exceeded", detail, {"Retry-After": str(wait_s)})
        return None


def _unauthorised(
    code: str, detail: str, challenge: str = f'{_CHALLENGE}, error="invalid_token"'
) -> Refused:
    return Refused(401, code, detail, {"WWW-Authenticate": challenge})


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for each, value in headers if each == name]


def _is_of_foreign_page(method: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a browser says that a page of another site asks.

    Over TLS and on loopback names it says so in Sec-Fetch-Site, elsewhere, as at 0.0.0.0, with a
    POST in Origin only. Another port or a neighbouring name is the same site; a link from there may
    be followed.
    """
    if sites := _values(headers, b"sec-fetch-site"):
        return b"cross-site" in sites or (method == "POST" and b"same-site" in sites)
    hosts = [host.lower() for host in _values(headers, b"host")]
    origins = _values(headers, b"origin")
    return any([origin.lower().partition(b"://")[2]] != hosts for origin in origins)


class _Rates:
    """For each key a minute's requests at once, then evenly over the minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: defaultdict[str, TokenBucket] = defaultdict(TokenBucket)

    def take(self, key: Key) -> int:
        """Take one request; return 0, or the whole seconds until there is one."""
        per_minute = key.requests_per_minute or self._per_minute
        return math.ceil(self._buckets[key.sha256].take(per_minute, per_minute / 60))
