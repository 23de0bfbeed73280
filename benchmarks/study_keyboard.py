"""How soon a reader's page can be used, and how many images a minute a script at its keyboard judges.

    python benchmarks/study_keyboard.py --out results/study

A study of noise (512 x 512 pixels) is made and served on this machine; the system's Chromium opens a reader's link,
each time with nothing kept from before. Three keys an image: the answer, how sure, Enter. The page itself notes when
it changes; a time runs until the image is on the screen and keys count.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from datadouble import files
from datadouble.study.create import create_study
from datadouble.study.protocol import read_protocol, with_counts
from datadouble.study.store import Store
from script import parser_of
from study_load import noise
from study_server import Server

WINDOWS = {"laptop": (1366, 768), "tablet": (1024, 768)}
PAGE_MS, PACE = 1000.0, 60.0
NOTES_STATES = """
window.states = [];
document.addEventListener("DOMContentLoaded", () => {
  const note = () => window.states.push([document.body.dataset.state, performance.now()]);
  new MutationObserver(note).observe(document.body, { attributeFilter: ["data-state"] });
  note();
});
"""


def when(page: Page, state: str, after: float = 0.0) -> float:
    """Wait for a state of the page, and return the ms since it was asked for at which it came."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for name, moment in page.evaluate("window.states || []"):
            if name == state and moment > after:
                return float(moment)
        time.sleep(0.005)
    raise RuntimeError(f"the page never came to {state!r}")


def opened(browser: Browser, address: str, window: tuple[int, int]) -> tuple[Page, float, float]:
    """Open a link afresh: the page, ms until it takes keys, ms from Enter to the first image."""
    page = browser.new_context(viewport={"width": window[0], "height": window[1]}).new_page()
    page.add_init_script(NOTES_STATES)
    page.goto(address, wait_until="commit")
    usable = when(page, "brief")
    pressed = float(page.evaluate("performance.now()"))
    page.keyboard.press("Enter")
    return page, usable, when(page, "judging", pressed) - pressed


def judge(page: Page, images: int) -> tuple[float, list[float]]:
    """Judge images by three keys each: seconds for all, and ms from Enter to the next image."""
    between, last = [], when(page, "judging")
    began = time.monotonic()
    for number in range(images):
        for key in ("rs"[number % 2], str(1 + number % 9), "Enter"):
            page.keyboard.press(key)
        sent = next(moment for name, moment in page.evaluate("window.states")[::-1] if name == "sending")
        last = when(page, "judging", max(last, sent))
        between.append(last - sent)
    return time.monotonic() - began, between


def measure(openings: int, images: int, size: int) -> dict[str, Any]:
    """Make a study, serve it, open it, judge."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    result: dict[str, Any] = {"image_pixels": size, "openings": openings, "images": images, "windows": {}}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        root = Path(folder)
        protocol = with_counts(read_protocol("coldit-1"), real=100, synthetic=100, practice=0)
        cohorts = [noise(root / origin, origin, 100, size) for origin in ("real", "synthetic")]
        create_study(protocol, cohorts[0], cohorts[1], root / "study")
        with Store.open(root / "study") as store:
            for name in WINDOWS:
                store.add_reader(name)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        result |= {"browser": browser.version, "cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
        with Server(root / "study") as server:
            for name, window in WINDOWS.items():
                address = f"http://127.0.0.1:{server.port}{server.paths[name]}"
                usable, first = [], []
                for _ in range(openings):
                    page, ready, image = opened(browser, address, window)
                    usable.append(ready)
                    first.append(image)
                    page.context.close()
                page, _, _ = opened(browser, address, window)
                seconds, between = judge(page, images)
                page.context.close()
                result["windows"][name] = {
                    "window": window,
                    "page_usable_ms": spread(usable),
                    "first_image_ms": spread(first),
                    "next_image_ms": spread(between),
                    "images_a_minute": round(60 * images / seconds, 1),
                }
        browser.close()
        with Store.open(root / "study") as store:
            result["answers_stored"] = len(store.answers_table())
    result["load_after"] = os.getloadavg()[0]
    rows = result["windows"].values()
    result["met"] = all(
        row["page_usable_ms"]["median"] < PAGE_MS and row["images_a_minute"] >= PACE for row in rows
    )
    return result


def spread(times: list[float]) -> dict[str, float]:
    """Median and slowest."""
    return {"median": round(float(np.median(times)), 1), "slowest": round(max(times), 1)}


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "# A reader's page",
        "",
        f"Chromium {result['browser']}, each time without anything kept ({result['openings']} openings); a script "
        f"judges {result['images']} images of {result['image_pixels']} x {result['image_pixels']} pixels by three keys "
        f"each (answer, confidence, Enter) as fast as the page allows. Browser and server on the same "
        f"{result['cores']} cores.",
        "",
        "| window | page usable, median (slowest) ms | first image after Enter, ms | next image after Enter, ms | "
        "images a minute |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["windows"].items():
        cells = [
            f"{row[kind]['median']:.0f} ({row[kind]['slowest']:.0f})"
            for kind in ("page_usable_ms", "first_image_ms", "next_image_ms")
        ]
        size = " x ".join(map(str, row["window"]))
        lines.append(
            f"| {name}, {size} | **{cells[0]}** | {cells[1]} | {cells[2]} | **{row['images_a_minute']:.0f}** |"
        )
    lines += [
        "",
        f"All {result['answers_stored']} answers are stored. Targets: the page usable within 1 s and 60 images a "
        f"minute: {'met' if result['met'] else 'not met'}. A key is not taken in the first 150 ms of an image, on "
        f"purpose: it was meant for the one before. The machine's load was {result['load_before']:.1f} before and "
        f"{result['load_after']:.1f} after.",
        "",
        "```bash",
        "python benchmarks/study_keyboard.py --out results/study",
        "```",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write `keyboard.json` and `keyboard.md`."""
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--openings", type=int, default=10, help="of each window")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    result = measure(options.openings, options.images, options.size)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_json(options.out / "keyboard.json", result)
    files.write_text(options.out / "keyboard.md", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
