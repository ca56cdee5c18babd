"""No path and no address that a request names is ever opened."""

import ctypes
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.service.test_privacy import dicom_with_canaries

IN_OPEN = 0x20


@pytest.fixture
def watched(tmp_path) -> Iterator[tuple[Path, int]]:
    """A file, and a descriptor that can be read once somebody has opened it (inotify)."""
    file = tmp_path / "secret.png"
    file.write_bytes(b"secret")
    libc = ctypes.CDLL(None, use_errno=True)
    notices = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(notices, os.fsencode(file), IN_OPEN) > 0
    yield file, notices
    os.close(notices)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that notices who calls."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def opened(notices: int) -> bool:
    try:
        return bool(os.read(notices, 4096))
    except BlockingIOError:
        return False


def called(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def files_that_name(place: str, png: bytes) -> list[bytes]:
    """A DICOM and a PNG file that name a place wherever one may stand, and the place itself."""
    dataset = pydicom.dcmread(io.BytesIO(dicom_with_canaries(damaged=False)))
    dataset.RetrieveURL = dataset.RetrieveURI = dataset.StorageURL = place
    dataset.PixelDataProviderURL = place
    item = pydicom.Dataset()
    item.ReferencedFileID = place.split("/")[-8:]
    item.RetrieveURL = place
    dataset.ReferencedImageSequence = [item]
    dicom, annotated, text = io.BytesIO(), io.BytesIO(), PngInfo()
    dataset.save_as(dicom)
    text.add_text("XML:com.adobe.xmp", f'<!DOCTYPE x [<!ENTITY e SYSTEM "{place}">]><x>&e;</x>')
    text.add_itxt("URL", place)
    Image.open(io.BytesIO(png)).save(annotated, "PNG", pnginfo=text)
    svg = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="{place}"/></svg>'
    return [dicom.getvalue(), annotated.getvalue(), svg.encode(), place.encode()]


def test_the_watch_itself_notices(watched, listener):
    file, notices = watched
    assert not opened(notices)
    file.read_bytes()
    assert opened(notices)
    assert not called(listener)
    socket.create_connection(listener.getsockname()).close()
    assert called(listener)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # paths are longer than names of files
def test_nothing_that_a_request_names_is_opened(service, png, watched, listener):
    file, notices = watched
    url = "http://{}:{}/secret.png".format(*listener.getsockname())
    for place in (str(file), f"file://{file}", url, f"\\\\127.0.0.1\\{file}"):
        names = {"file": place, "url": place, "path": place, "finding": "Mass"}
        headers = {"Referer": place, "Origin": place, "X-Original-URL": place, "Location": place}
        for data in files_that_name(place, png):
            for path in ("/predict", "/radiograph", "/explain"):
                form = {"file": (place, data, f"message/external-body; name={place}")}
                service.client.post(path, files=form, params=names, headers=headers)
        service.client.post("/predict", params=names, data=names)
        service.client.post("/predict", json=names)
        for path in (f"/web/{place}", f"/static-offline-docs/{place}", f"/web/..{file}"):
            assert service.client.get(path).status_code == 404
    assert not opened(notices)
    assert not called(listener)
