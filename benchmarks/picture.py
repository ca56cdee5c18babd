"""`python -m benchmarks.picture [URL]`: take docs/page.png anew, with drawn radiographs only."""

import io
import shutil
import sys
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
from PIL import Image, ImageFilter
from playwright.sync_api import FilePayload, expect, sync_playwright

from training.phantom import draw_phantom

TARGET: Final = Path(__file__).parent.parent / "docs" / "page.png"
SIDE: Final = 1024


def main() -> None:
    """Show three files and the map of the most probable finding."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/"
    files = [
        file("drawn-1.png", draw(3, ("Cardiomegaly", "Effusion"))),
        file("drawn-2.png", draw(5, ("Mass",))),
        file("notes.txt", b"Dear colleague"),
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 860})
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        page.set_input_files("#chooser", files)
        expect(page.locator("#progress-text")).to_have_text("3 of 3 finished", timeout=60_000)
        page.wait_for_selector("[aria-label='Zoom in']:enabled")
        page.locator("#finding-list button").first.click()
        page.mouse.move(0, 0)
        page.wait_for_selector("#legend:visible")
        picture = page.screenshot(animations="disabled")
        browser.close()
    Image.open(io.BytesIO(picture)).convert("RGB").save(TARGET, optimize=True)


def draw(seed: int, findings: tuple[str, ...]) -> bytes:
    """Draw a radiograph and encode it as PNG of SIDE pixels; without noise the picture is small."""
    quiet = Image.fromarray(draw_phantom(seed, findings)).filter(ImageFilter.MedianFilter(5))
    enlarged = quiet.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return bytes(imagecodecs.png_encode(np.asarray(enlarged)))


def file(name: str, data: bytes) -> FilePayload:
    """Make a file as the page's chooser takes it."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


if __name__ == "__main__":
    main()
