"""A real browser for tests: Chromium without a network, its log, and an audit of its page."""

import contextlib
import importlib.util
import json
import shutil
import tempfile
from pathlib import Path

import pytest

_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"),
)


class Browser:
    """A window that opens files and records their requests and log messages."""

    def __init__(self, driver):
        self.driver = driver
        self.run = driver.execute_script

    def open(self, page, *, width=1280, height=900, scheme="light", language="en-US", still=False):
        """Open a page (a text) as a file, in a window with the given size and preferences."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        motion = "reduce" if still else "no-preference"
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        self.command(
            "Emulation.setEmulatedMedia",
            features=[{"name": name, "value": value} for name, value in features.items()],
        )
        agent = self.run("return navigator.userAgent")
        self.command("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "page.html"
        path.write_text(page, "utf-8")
        self.complaints(), self.requests()  # clear those of the previous page
        self.driver.get(path.as_uri())
        return path.as_uri()

    def command(self, name, **parameters):
        return self.driver.execute_cdp_cmd(name, parameters)

    def complaints(self):
        """Return the console messages since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """Return the addresses requested since the last call, without ``data:``."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        addresses = [request["request"]["url"] for request in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def find_all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def press(self, *keys):
        """Press keys at the focus: names as in selenium's Keys, or characters."""
        from selenium.webdriver.common.keys import Keys

        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(Keys, key, key))

    def click_on(self, selector):
        """Click on the middle of an element."""
        middle = self.run(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]",
            selector,
        )
        self.click_at(*middle)

    def click_at(self, x, y):
        """Click on a point of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            press = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, **press)

    def audit(self):
        """Return the serious faults that axe-core finds in the page, one line for each."""
        axe = importlib.util.find_spec("axe_playwright_python")
        if axe is None:
            pytest.skip("axe-core is not installed (pip install --no-deps axe-playwright-python)")
        self.run(Path(axe.origin).with_name("axe.min.js").read_text("utf-8"))
        result = self.driver.execute_async_script("axe.run().then(arguments[0])")
        assert result["passes"]
        return [
            f"{fault['id']}: {node['html'][:200]} {node['failureSummary']}"
            for fault in result["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]


@contextlib.contextmanager
def started():
    """Start Chromium, or skip the tests that need it if it is not installed."""
    selenium = importlib.util.find_spec("selenium")
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [*([] if selenium else ["selenium"]), *(n for n, at in programs.items() if not at)]
    if missing:
        pytest.skip(f"no browser to test in: {', '.join(missing)} not installed")
    from selenium import webdriver

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = programs["chromium"]
        for option in (*_OPTIONS, f"--user-data-dir={folder}/profile"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(programs["chromedriver"])
        driver = webdriver.Chrome(options, service)
        try:
            browser = Browser(driver)
            browser.folder = folder
            yield browser
        finally:
            driver.quit()
