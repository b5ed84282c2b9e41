"""Make the README's images of the trace page, and of a run's report, with headless Chromium.

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

# Width, height, the step counted from 0, what is chosen there, and the theme.
TRACE_IMAGES = {
    "trace": (1280, 830, 2, '[data-unit="2 0"]', "light"),
    "trace-dark": (1280, 830, 6, "#details", "dark"),
}
REPORT_IMAGE = (1280, 1560)


def main() -> None:
    """Read the options, take the images and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to write the PNG files to")
    parser.add_argument("--trace", default="note-000", help="a worked example or a .toml file")
    parser.add_argument("--trace-page", type=Path, help="a page that `trace --html` has written")
    parser.add_argument("--report", type=Path, help="a page that `report` has written")
    parser.add_argument("--chromium", default="chromium", help="the browser's program")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    page = told.trace_page.read_text("utf-8") if told.trace_page else None
    page = page or trace_page(read_example(told.trace).trace())
    for name, (width, height, step, chosen, theme) in TRACE_IMAGES.items():
        at = at_step(page, step, chosen, theme)
        take(told.chromium, at, told.out / f"{name}.png", width, height)
    if told.report:
        report = told.report.read_text("utf-8")
        take(told.chromium, report, told.out / "report.png", *REPORT_IMAGE)


def at_step(page: str, step: int, chosen: str, theme: str) -> str:
    """Return the page with a script of its own that leads to a step, as a reader would."""
    script = (
        f"document.documentElement.dataset.theme = '{theme}';"
        f"for (let i = 0; i < {step}; i++) document.getElementById('forth').click();"
        f"document.querySelector('{chosen}').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));"
        "window.scrollTo(0, 0);"
    )
    head, policy, rest = page.partition('<meta http-equiv="Content-Security-Policy"')
    rest = rest.partition("\n")[2]  # it allows no scripts but the page's own
    assert policy, "this is no trace page"
    return head + rest.replace("</body>", f"<script>{script}</script></body>")


def take(chromium: str, page: str, out: Path, width: int, height: int) -> None:
    """Take an image of a page, in a window of that size."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, "utf-8")
        told = (
            f"--user-data-dir={folder}/profile",
            f"--window-size={width},{height}",
            "--virtual-time-budget=3000",  # what moves has come to rest
            f"--screenshot={out.resolve()}",
        )
        command = [chromium, *OPTIONS, *told, path.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(f"{out}: {out.stat().st_size // 1000} kB")


main()
