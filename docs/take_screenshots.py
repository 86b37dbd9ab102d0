"""Takes pictures of the demo's report and of two pages of the documentation, in headless Chromium.

    uv run qwen3vl demo && make docs
    uv run --with playwright docs/take_screenshots.py --to screenshots

Chromium is the one on the `PATH`, or playwright's own (`playwright install chromium`), or `--browser`. A page that
reports an error on its console, or wants anything from the network, fails the run. The pictures are to be looked at and
are not committed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "qwen3vl-demo/report.html"
BUILT = ROOT / "docs/_build"
PAGES = ("index", "questions")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Width and height of the window in CSS pixels, and whether the colours are dark.
VIEWS = {"wide": (1280, 900, "light"), "phone": (390, 844, "light"), "dark": (1280, 900, "dark")}


def list_shots(report: Path, built: Path) -> list[tuple[str, Path]]:
    """Returns names and files of the pages, all of which exist."""
    shots = [("report", report), *((f"docs-{page}", built / f"{page}.html") for page in PAGES)]
    missing = [str(file) for _, file in shots if not file.is_file()]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; run `uv run qwen3vl demo` and `make docs` first")
    return shots


def take_screenshots(shots: list[tuple[str, Path]], folder: Path, browser: str | None) -> list[Path]:
    """Writes one picture per page and view; returns their files."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise SystemExit("playwright is missing: uv run --with playwright docs/take_screenshots.py") from error
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []
    with sync_playwright() as playwright:
        # Chromium has no sandbox for root, as whom containers run; the pages are our own files.
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for view, (width, height, colors) in VIEWS.items():
            context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=colors)
            for name, file in shots:
                taken.append(folder / f"{name}-{view}.png")
                _take(context, file, taken[-1])
        chromium.close()
    return taken


def _take(context: Any, file: Path, target: Path) -> None:
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request", lambda request: problems.append(request.url) if request.url.startswith(("http:", "https:")) else None
    )
    page.goto(file.resolve().as_uri(), wait_until="load")
    broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.alt || i.src)")
    too_wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
    page.screenshot(path=str(target))
    page.close()
    problems += [f"a picture is broken: {name}" for name in broken]
    problems += ["the page is wider than the window"] if too_wide else []
    if problems:
        raise SystemExit(f"{file.name} as {target.name}: {'; '.join(problems)}")


def main() -> None:
    """Reads the arguments and takes the pictures."""
    parser = argparse.ArgumentParser(description="Pictures of the demo's report and of two documentation pages.")
    parser.add_argument("--to", type=Path, default=ROOT / "screenshots", help="folder for the pictures")
    parser.add_argument("--report", type=Path, default=REPORT, help="report.html of qwen3vl demo")
    parser.add_argument("--docs", type=Path, default=BUILT, help="built documentation")
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None), help="Chromium")
    arguments = parser.parse_args()
    taken = take_screenshots(list_shots(arguments.report, arguments.docs), arguments.to, arguments.browser)
    sys.stdout.write("".join(f"{file}\n" for file in taken))


if __name__ == "__main__":
    main()
