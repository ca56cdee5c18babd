"""A radiograph and the requests that carry it."""

import contextlib
import http.client
import json
import secrets
import struct
import zlib

from engine import ROOT

_REAL_FILES = ROOT.parent / "shared" / "requests" / "nih"


def radiograph():
    """A real radiograph where there is one, else a drawn one: bright lungs' shape on a gradient."""
    real = sorted(_REAL_FILES.glob("*.png"))
    return (real[0].name, real[0].read_bytes()) if real else ("drawn.png", draw_png(512))


def draw_png(side):
    rows = b"".join(
        b"\0" + bytes(grey(2 * x / side - 1, 2 * y / side - 1) for x in range(side))
        for y in range(side)
    )
    header = struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def grey(x, y):
    lung = min(((abs(x) - 0.42) / 0.3) ** 2 + (y / 0.65) ** 2, 1.0)
    return round(40 + 150 * lung + 30 * (1 - abs(x)))


def multipart(data):
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body


def post(connection, data, key, **headers):
    """Post the radiograph with a key or None; return status and code of the answer."""
    headers["Content-Type"], body = multipart(data)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    with contextlib.closing(connection):
        connection.request("POST", "/predict", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()).get("code")


def ready_status(port):
    """Status of /health/ready; None where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health/ready")
        return connection.getresponse().status
    return None


class Upload:
    """POST /predict, whose body can be sent in two halves."""

    def __init__(self, port, data):
        content_type, self._body = multipart(data)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.putrequest("POST", "/predict")
        self._connection.putheader("Content-Type", content_type)
        self._connection.putheader("Content-Length", str(len(self._body)))
        self._connection.endheaders()

    def send_half(self):
        half = len(self._body) // 2
        self._connection.send(self._body[:half])
        self._body = self._body[half:]

    def finish(self):
        self._connection.send(self._body)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        self._connection.close()
        return answer.status, text
