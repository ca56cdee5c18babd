"""A real headless Chromium, and what every visit must hold: no error, no foreign request."""

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, JSHandle, Page, expect, sync_playwright
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from tests.service.conftest import encode
from training.phantom import draw_phantom

CHROMIUM_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
REFUSED_STATUS = "Failed to load resource: the server responded with a status of"
TIMEOUT_MS = 60_000


class File(NamedTuple):
    """A file as a person would drop it."""

    name: str
    data: bytes


class Visit:
    """The page in a tab of its own, with what happened on it."""

    def __init__(self, page: Page, url: str, ready: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.statuses: list[int] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("response", lambda response: self.statuses.append(response.status))
        page.goto(f"{url}/")
        page.wait_for_selector(ready)

    def _note(self, message) -> None:
        # Chromium itself reports every answer from 400 on; the page says the same to the person.
        if message.type in ("error", "warning") and not message.text.startswith(REFUSED_STATUS):
            self.errors.append(message.text)

    def drop(self, *files: File) -> None:
        self._hand_over("#stage", "drop", "dataTransfer", files)

    def paste(self, *files: File) -> None:
        self._hand_over("body", "paste", "clipboardData", files)

    def choose(self, *files: File) -> None:
        payloads = [
            {"name": file.name, "mimeType": "application/octet-stream", "buffer": file.data}
            for file in files
        ]
        self.page.set_input_files("#chooser", payloads)

    def finish(self, count: int = 1) -> None:
        """Wait until so many files are answered or refused and the first one is drawn."""
        # By locators: the page's policy forbids the code that wait_for_function sends.
        finished = self.page.locator("li:is([data-state=done], [data-state=refused])")
        expect(finished).to_have_count(count, timeout=TIMEOUT_MS)
        self.page.wait_for_selector("#refusal:visible, [aria-label='Zoom in']:enabled")

    def draw(self) -> np.ndarray:
        """The pixels of the viewer after the next frame, uint8[h,w,4]."""
        url = self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame("
            "() => done(document.querySelector('#canvas').toDataURL()))))"
        )
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))

    def draw_at_1_to_1(self) -> np.ndarray:
        """The colours of the radiograph shown at 1:1, cut out of the viewer, int[h,w,3]."""
        pixels = self.draw()
        rows, columns = (np.flatnonzero(pixels[:, :, 3].any(axis)) for axis in (1, 0))
        return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, :3].astype(int)

    def row(self, finding: str) -> str:
        return f"[data-finding={finding}]"

    def _hand_over(self, target: str, event: str, carrier: str, files: tuple[File, ...]) -> None:
        self.page.evaluate(
            "([target, event, carrier, transfer]) => document.querySelector(target).dispatchEvent("
            "new (event === 'drop' ? DragEvent : ClipboardEvent)(event,"
            " {[carrier]: transfer, bubbles: true, cancelable: true}))",
            [target, event, carrier, self._transfer(files)],
        )

    def _transfer(self, files: tuple[File, ...]) -> JSHandle:
        encoded = [[file.name, base64.b64encode(file.data).decode()] for file in files]
        return self.page.evaluate_handle(
            """files => {
              const transfer = new DataTransfer();
              for (const [name, data] of files) {
                const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
              }
              return transfer;
            }""",
            encoded,
        )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium from the system's packages; of module scope, as it keeps an event loop running."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        message = "needs Chromium; on Debian: make chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, service) -> Iterator[Callable[..., Visit]]:
    """Open the page: `open_page(width, height)`; every visit is looked over at the end."""
    visits: list[Visit] = []

    def open_page(
        width: int = 1280,
        height: int = 800,
        url: str = service.url,
        ready: str = "html[data-ready]",
        **options,
    ) -> Visit:
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        visits.append(Visit(page, url, ready))
        return visits[-1]

    yield open_page
    for visit in visits:
        assert visit.errors == []
        assert [each for each in visit.requests if not each.startswith((visit.url, "blob:"))] == []
        assert visit.page.context.cookies() == []
        assert visit.page.evaluate("localStorage.length + sessionStorage.length") == 0
        visit.page.close()


@pytest.fixture
def visit(open_page) -> Visit:
    return open_page()


@pytest.fixture(scope="session")
def drawn_png() -> File:
    return File("drawn.png", encode(draw_phantom(3, ("Effusion",))))


@pytest.fixture(scope="session")
def drawn_dicom() -> File:
    """A drawn radiograph as MONOCHROME1 of 12 bits, which no browser shows."""
    pixels = draw_phantom(4, ("Mass",))
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = (4095 - pixels.astype("<u2") * 16).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return File("drawn.dcm", buffer.getvalue())


@pytest.fixture(scope="session")
def real_files(requests_folder: Path) -> tuple[File, File]:
    """A real PNG and a real DICOM."""
    png = next(iter(sorted((requests_folder / "nih").glob("*.png"))))
    dicom = next(iter(sorted((requests_folder / "dicom-frontal").glob("*.dcm"))))
    return File(png.name, png.read_bytes()), File(dicom.name, dicom.read_bytes())
