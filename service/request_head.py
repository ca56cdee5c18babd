"""What the head of a request must be, beyond what llhttp checks."""

from collections import Counter
from typing import Final

from service.guard import MAX_HEADERS_BYTES

_Headers = list[tuple[bytes, bytes]]

_VERSIONS: Final = ("1.0", "1.1")


class Refused(Exception):
    """What a client sent is no HTTP; `status` is that of the answer, the message its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def invalid() -> Refused:
    """Return what is said where there is nothing more to say."""
    return Refused(400, "Invalid HTTP request received.")


def check_size(count: int) -> None:
    """Raise Refused where a head that has not ended has more than MAX_HEADERS_BYTES bytes."""
    if count > MAX_HEADERS_BYTES:
        limit = f"{MAX_HEADERS_BYTES // 1024} KiB"
        raise Refused(431, f"Send less than {limit} of headers and URL.")


def check_head(method: bytes, version: str, headers: _Headers) -> None:
    """Raise Refused where another server before this one may read the request otherwise.

    One Host (RFC 9112, section 3.2); no coding but chunked, which llhttp finds at the end of a list
    of codings, too (section 6.1). CONNECT asks for a tunnel.
    """
    count = Counter(name for name, _ in headers)
    hosts = count[b"host"]
    if version not in _VERSIONS or hosts > 1 or (version == "1.1" and not hosts):
        raise invalid()
    if method == b"CONNECT":
        raise invalid()
    for name, value in headers:
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            text = "Send a body with its Content-Length, or with Transfer-Encoding: chunked."
            raise Refused(501, text)


def to_origin_form(url: bytes, headers: _Headers) -> bytes:
    """Return the path and query of a target; a host that it names takes the place of Host.

    Clients send the absolute form to a proxy (RFC 9112, section 3.2.2).
    """
    if not url.startswith((b"http://", b"https://")):
        return url
    authority, _, path = url.partition(b"://")[2].partition(b"/")
    headers[:] = [(b"host", authority), *(each for each in headers if each[0] != b"host")]
    return b"/" + path
