"""Take the screenshots in the README, of a trace page and a report, with headless Chromium.

backprop-xp train --seed 0 --doctor --out runs/a && backprop-xp report runs/a
python scripts/page_images.py scripts/images --report runs/a/report.html
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from backprop_xp.trace.examples import read_example
from backprop_xp.trace.page import trace_page

OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--lang=en-US"),
)

# Width, height, step (from 0), selected element, and theme.
TRACE_IMAGES = {
    "trace": (1280, 830, 2, '[data-unit="2 0"]', "light"),
    "trace-dark": (1280, 830, 6, "#details", "dark"),
}
REPORT_IMAGE = (1280, 1560)


def main() -> None:
    """Read the options and take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to write the PNG files to")
    parser.add_argument("--trace", default="note-000", help="a worked example or a .toml file")
    parser.add_argument("--trace-page", type=Path, help="a page written by `trace --html`")
    parser.add_argument("--report", type=Path, help="a page written by `report`")
    parser.add_argument("--chromium", default="chromium", help="the browser to run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    page = options.trace_page.read_text("utf-8") if options.trace_page else None
    page = page or trace_page(read_example(options.trace).trace())
    for name, (width, height, step, chosen, theme) in TRACE_IMAGES.items():
        at = at_step(page, step, chosen, theme)
        take(options.chromium, at, options.out / f"{name}.png", width, height)
    if options.report:
        report = options.report.read_text("utf-8")
        take(options.chromium, report, options.out / "report.png", *REPORT_IMAGE)


def at_step(page: str, step: int, chosen: str, theme: str) -> str:
    """Return the page with a script that goes to a step and selects an element."""
    script = (
        f"document.documentElement.dataset.theme = '{theme}';"
        f"for (let i = 0; i < {step}; i++) document.getElementById('forth').click();"
        f"document.querySelector('{chosen}').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));"
        "window.scrollTo(0, 0);"
    )
    head, policy, rest = page.partition('<meta http-equiv="Content-Security-Policy"')
    rest = rest.partition("\n")[2]  # the policy only allows the page's own scripts
    assert policy, "this is not a trace page"
    return head + rest.replace("</body>", f"<script>{script}</script></body>")


def take(chromium: str, page: str, out: Path, width: int, height: int) -> None:
    """Save a screenshot of a page, in a window of the given size."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, "utf-8")
        window = (
            f"--user-data-dir={folder}/profile",
            f"--window-size={width},{height}",
            "--virtual-time-budget=3000",  # until animations have ended
            f"--screenshot={out.resolve()}",
        )
        command = [chromium, *OPTIONS, *window, path.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(f"{out}: {out.stat().st_size // 1000} kB")


main()
