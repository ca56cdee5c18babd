"""Drawn radiographs as files, and a key file and a decoding worker that several tests share."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.decoding import Decoder
from tests.service.keyring import keys
from training.phantom import draw_phantom


def encode(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


def predict_request(data: bytes, headers: str = "", path: str = "/predict") -> bytes:
    """A whole request that posts a file, as bytes."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + data
        + b"\r\n--x--\r\n"
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{headers}"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    return head.encode() + body


def read_metrics(service) -> dict[str, float]:
    """What /metrics says, by name and labels."""
    lines = service.client.get("/metrics").text.splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in samples}


@pytest.fixture(scope="session")
def large_png() -> bytes:
    """48 megapixels of 16-bit noise-free ramp: about a third of a second of decoding."""
    return encode(np.tile(np.arange(8000, dtype=np.uint16) * 8, (6000, 1)))


@pytest.fixture(scope="session")
def png() -> bytes:
    """A drawn radiograph as 8-bit grey PNG."""
    return encode(draw_phantom(1, ()))


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """Another drawn radiograph as grey JPEG."""
    return encode(draw_phantom(2, ()), "JPEG")


@pytest.fixture(scope="session")
def file(tmp_path_factory) -> Path:
    """The key file that all tests of access share."""
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="session")
def key(file) -> str:
    """A key of ward-3, which makes the file."""
    return keys(file, "make", "ward-3")


@pytest.fixture
def decoder():
    pool = Decoder(workers=1, timeout_s=60.0, memory_mib=1536)
    yield pool
    pool.close()
