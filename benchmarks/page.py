"""`python -m benchmarks.page [URL]`: time from dropping a PNG on the page to its first bars.

Needs a running service (`make run`) and Chromium. The page's own share is what is left of that time
after the request to /predict, which the browser itself measures.
"""

import base64
import shutil
import statistics
import sys
from typing import Final

from playwright.sync_api import sync_playwright

from benchmarks.engines import draw_png

ROUNDS: Final = 20
SIDE: Final = 1024
LIMIT_MS: Final = 300

_DROP: Final = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], 'drawn.png', { type: 'image/png' }));
  const row = document.querySelector('#finding-list > li');
  const filled = new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      if (!row.dataset.probability) return;
      observer.disconnect();
      requestAnimationFrame(() => requestAnimationFrame(resolve)); // after it was painted
    }).observe(row, { attributes: true });
  });
  const started = performance.now();
  document.querySelector('#stage').dispatchEvent(
    new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
  await filled;
  const all = performance.now() - started;
  const requests = performance.getEntriesByType('resource');
  return [all, requests.find((entry) => entry.name.includes('/predict')).duration];
}"""


def main() -> None:
    """Drop the same drawn PNG on a fresh page ROUNDS times and print the medians."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/"
    data = base64.b64encode(draw_png(SIDE)).decode()
    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        rounds = []
        for _ in range(ROUNDS):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(url)
            page.wait_for_selector("html[data-ready]")
            rounds.append(page.evaluate(_DROP, data))
            page.close()
        browser.close()
    whole, request = (statistics.median(each[part] for each in rounds) for part in (0, 1))
    own = statistics.median(each[0] - each[1] for each in rounds)
    print(f"{SIDE} x {SIDE} PNG, medians of {ROUNDS} drops, in ms")
    print(f"drop to first bars  {whole:7.0f}")
    print(f"request to /predict {request:7.0f}")
    print(f"the page's share    {own:7.0f}   (limit {LIMIT_MS})")


if __name__ == "__main__":
    main()
