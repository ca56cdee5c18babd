"""What the head of a request must be beyond what llhttp checks, and the answer where it is not."""

from collections import Counter
from http import HTTPStatus
from typing import Final

from service.guard import MAX_HEADERS_BYTES

_Headers = list[tuple[bytes, bytes]]

_VERSIONS: Final = ("1.0", "1.1")


class Refused(Exception):
    """What a client sent is no HTTP; `status` is that of the answer, the message its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status

    def answer(self) -> bytes:
        """Return the whole answer, after which the connection is to be closed.

        With its length: a close with bytes unread resets the connection, and a client that read on
        to its end would meet that instead of the answer.
        """
        body = str(self).encode("ascii")
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            "content-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body


def invalid() -> Refused:
    """Return what is said where there is nothing more to say."""
    return Refused(400, "Invalid HTTP request received.")


def check_size(count: int) -> None:
    """Raise Refused where more than MAX_HEADERS_BYTES bytes came in a row that are no body."""
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

    Clients send the absolute form to a proxy (RFC 9112, section 3.2.2). Raises Refused for any
    other form but `*`.
    """
    scheme, named, rest = url.partition(b"://")
    if named and scheme.lower() in (b"http", b"https"):
        authority, _, path = rest.partition(b"/")
        headers[:] = [(b"host", authority), *(each for each in headers if each[0] != b"host")]
        url = b"/" + path
    if (url != b"*" and not url.startswith(b"/")) or b"#" in url:
        raise invalid()
    return url


def without_offer(method: bytes, url: bytes, version: str, headers: _Headers) -> bytes:
    """Return a head anew, without the Upgrade that it offers (RFC 9110, section 7.8)."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])
