"""What tests of several folders use: a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from selenium import webdriver

CHROMIUM = "/usr/bin/chromium"
CHROMEDRIVER = "/usr/bin/chromedriver"
PATIENCE = 60  # seconds: a loaded machine is slow
TELEPHONE = (360, 740)
"""Width and height in CSS pixels."""

OpenBrowser = Callable[..., webdriver.Chrome]


def _options(profile: str, *, javascript: bool, telephone: bool) -> webdriver.ChromeOptions:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1000,900",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    if not javascript:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    if telephone:
        width, height = TELEPHONE
        metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    return options


def _end(browser: webdriver.Chrome) -> None:
    """Close it, and leave nothing running even where chromedriver has lost it."""
    try:
        browser.quit()
    finally:
        with suppress(ProcessLookupError):
            os.kill(browser.capabilities["goog:processID"], signal.SIGKILL)


@pytest.fixture
def open_browser() -> Iterator[OpenBrowser]:
    """Open a headless Chromium with a profile of its own: ``open_browser(javascript=False)``, ``(telephone=True)``.

    Not both: without JavaScript chromedriver's taps on an emulated telephone never end. Skips where there is no
    Chromium, unless everything has to be there (``CAPSVC_TEST_REQUIRE=all``).
    """
    for program in (CHROMIUM, CHROMEDRIVER):
        if not Path(program).exists():
            if os.environ.get("CAPSVC_TEST_REQUIRE") == "all":
                pytest.fail(f"there is no {program}")
            pytest.skip(f"there is no {program}")
    with ExitStack() as held:

        def open_one(*, javascript: bool = True, telephone: bool = False) -> webdriver.Chrome:
            profile = tempfile.mkdtemp(prefix="capsvc-browser-")
            held.callback(shutil.rmtree, profile, ignore_errors=True)
            options = _options(profile, javascript=javascript, telephone=telephone)
            browser = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
            held.callback(_end, browser)
            browser.set_page_load_timeout(PATIENCE)
            return browser

        yield open_one
