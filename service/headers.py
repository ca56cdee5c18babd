"""What every answer tells browsers: keep nothing, show it nowhere else, load nothing."""

from typing import Final

from starlette.types import Scope

_Headers = list[tuple[bytes, bytes]]

_POLICY: Final = b"content-security-policy"
_NOTHING: Final = b"default-src 'none'; frame-ancestors 'none'"
# Swagger UI starts from a script inside its page, and sets styles.
_DOCS: Final = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_TLS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")


def security_headers(scope: Scope, given: _Headers) -> _Headers:
    """Return the headers to add to an answer; a Content-Security-Policy of its own stays."""
    added = list(_ALWAYS)
    if all(name != _POLICY for name, _ in given):
        added.append((_POLICY, _DOCS if scope["path"].startswith("/docs") else _NOTHING))
    if scope["scheme"] == "https":
        added.append(_TLS_ONLY)
    return added
