"""The pages in a real browser, Chromium: by mouse, by keyboard, without JavaScript, on a telephone, under attack."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from tests.discharge.people.conftest import Discharger, Pending, Start

PATIENCE = 60  # seconds: a loaded machine is slow
OpenBrowser = Callable[..., Chrome]
DISCHARGED = ["time-before 2026-11-22T12:05:00Z", "declared username alice"]


class Elsewhere:
    """Another site: what its pages hold is what a test puts there."""

    def __init__(self) -> None:
        pages = self.pages = {}  # type: dict[str, str]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Show a page."""
                body = pages.get(self.path, "").encode()
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def url(self, host: str = "127.0.0.1") -> str:
        """Its address: by default the discharger's own site at another port; ``localhost`` is another site."""
        return f"http://{host}:{self.server.server_port}"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Another site."""
    site = Elsewhere()
    yield site
    site.server.shutdown()
    site.thread.join()
    site.server.server_close()


def until(browser: Chrome, title: str) -> None:
    """Wait for a page."""
    WebDriverWait(browser, PATIENCE).until(lambda _: browser.title == title, f"{browser.title} is no {title}")


def element(browser: Chrome, selector: str) -> WebElement:
    """The one that a selector selects."""
    (found,) = browser.find_elements(By.CSS_SELECTOR, selector)
    return found


def log_in(browser: Chrome, pending: Pending) -> None:
    """Open a visit and log in, by mouse and keyboard."""
    browser.get(pending.visit_url)
    until(browser, "Log in")
    element(browser, "#username").send_keys("alice")
    element(browser, "#password").send_keys("correct horse")
    element(browser, "button").click()
    until(browser, "Allow or refuse?")


def text_of(browser: Chrome) -> str:
    """What a reader sees."""
    return " ".join(element(browser, "main").text.split())


@pytest.mark.parametrize("javascript", [True, False])
def test_somebody_logs_in_and_allows(discharger: Discharger, open_browser: OpenBrowser, *, javascript: bool) -> None:
    """While the program waits; then it has its discharge. The pages are the same without JavaScript."""
    browser = open_browser(javascript=javascript)
    pending = discharger.begin()
    with ThreadPoolExecutor(1) as program:
        finished = program.submit(discharger.finish, pending)
        log_in(browser, pending)
        assert "Begun from 127.0.0.1" in text_of(browser)
        assert not finished.done()
        element(browser, "button[value=allow]").click()
        until(browser, "Allowed")
        assert discharger.caveats(finished.result(PATIENCE)) == DISCHARGED


def test_chromium_keeps_the_cookies_on_loopback(discharger: Discharger, open_browser: OpenBrowser) -> None:
    """``__Host-`` and ``Secure`` over http at 127.0.0.1, out of scripts' reach; after logout they are gone."""
    browser = open_browser()
    log_in(browser, discharger.begin())
    (cookie,) = browser.get_cookies()
    assert cookie["name"].startswith("__Host-capsvc-session-")
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    assert "expiry" not in cookie
    assert browser.execute_script("return document.cookie") == ""
    element(browser, ".logout button").click()
    until(browser, "You are logged out")
    assert browser.get_cookies() == []


def test_nothing_is_said_in_the_console(discharger: Discharger, open_browser: OpenBrowser) -> None:
    """The policy blocks nothing that a page needs: the stylesheet is there."""
    browser = open_browser()
    pending = discharger.begin()
    log_in(browser, pending)
    style = browser.execute_script("return getComputedStyle(document.querySelector('button.first')).fontWeight")
    assert style == "600"
    element(browser, "button[value=allow]").click()
    until(browser, "Allowed")
    said = [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert [message for message in said if "favicon" not in message] == []


def _focused(browser: Chrome) -> str:
    focused = browser.switch_to.active_element
    return focused.get_attribute("id") or focused.text


def test_it_is_done_by_keyboard_alone(discharger: Discharger, open_browser: OpenBrowser) -> None:
    """TAB goes through fields and buttons in order, ENTER presses; a wrong password brings back to its field."""
    browser = open_browser()
    pending = discharger.begin()
    browser.get(pending.visit_url)
    until(browser, "Log in")
    assert _focused(browser) == "username"

    def press(*keys: str) -> None:
        browser.switch_to.active_element.send_keys(*keys)

    press("alice", Keys.TAB)
    assert _focused(browser) == "password"
    press("wrong", Keys.ENTER)
    WebDriverWait(browser, PATIENCE).until(lambda _: browser.find_elements(By.CSS_SELECTOR, "[role=alert]"))
    assert element(browser, "[role=alert]").is_displayed()
    assert _focused(browser) == "password"
    press("correct horse", Keys.TAB)
    assert _focused(browser) == "Log in"
    press(Keys.ENTER)
    until(browser, "Allow or refuse?")
    body = element(browser, "body")
    body.send_keys(Keys.ENTER)  # nothing has the focus: nothing is pressed
    body.send_keys(Keys.TAB)
    assert _focused(browser) == "Refuse"
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(Keys.TAB)
    assert _focused(browser) == "Allow as alice"
    assert discharger.is_open(pending)
    press(Keys.ENTER)
    until(browser, "Allowed")
    assert discharger.caveats(discharger.finish(pending)) == DISCHARGED


MEASURE = """
const small = [...document.querySelectorAll('input:not([type=hidden]), button')]
    .map(one => [one.getBoundingClientRect().height, parseFloat(getComputedStyle(one).fontSize)]);
return {width: document.documentElement.scrollWidth, window: innerWidth, targets: small,
        text: parseFloat(getComputedStyle(document.body).fontSize)};
"""


def _fits(browser: Chrome) -> None:
    """Nothing is cut off or needs zooming, and all that is pressed is big enough for a finger."""
    seen = browser.execute_script(MEASURE)
    assert seen["width"] == seen["window"] == 360
    assert seen["text"] >= 16
    assert seen["targets"]
    assert all(height >= 48 and size >= 16 for height, size in seen["targets"])


def test_it_is_done_on_a_telephone(start: Start, open_browser: OpenBrowser) -> None:
    """The longest name and an address that is elsewhere included."""
    discharger = start(trusted_proxies=["127.0.0.1"])
    discharger.users.lines = {"a" * 128: discharger.users.lines["alice"]}
    discharger.users.write()
    browser = open_browser(telephone=True)
    pending = discharger.begin(address="2001:db8:1234:5678:9abc:def0:1234:5678")
    browser.get(pending.visit_url)
    until(browser, "Log in")
    _fits(browser)
    element(browser, "#username").send_keys("a" * 128)
    element(browser, "#password").send_keys("correct horse")
    element(browser, "button").click()
    until(browser, "Allow or refuse?")
    _fits(browser)
    assert element(browser, "[role=alert]").text.startswith("It was begun from another address")
    element(browser, "button[value=refuse]").click()
    until(browser, "Refused")
    _fits(browser)
    assert discharger.wait(pending).json()["Code"] == "permission denied"


def test_light_and_dark(discharger: Discharger, open_browser: OpenBrowser) -> None:
    """As the reader's system has it; text stands out from its ground either way."""
    browser = open_browser()
    pending = discharger.begin()
    shown = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(pending.visit_url)
        colours = "const s = getComputedStyle(document.querySelector('main')); return [s.color, s.backgroundColor]"
        shown[scheme] = [_brightness(colour) for colour in browser.execute_script(colours)]
    assert shown["light"][1] - shown["light"][0] > 150
    assert shown["dark"][0] - shown["dark"][1] > 150


def _brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])
    return (299 * red + 587 * green + 114 * blue) / 1_000


def test_a_link_on_another_site_leads_to_the_page(
    discharger: Discharger, open_browser: OpenBrowser, elsewhere: Elsewhere
) -> None:
    """Whoever is logged in stays so, and sees who asks; following a link answers nothing."""
    browser = open_browser()
    log_in(browser, discharger.begin())
    pending = discharger.begin()
    elsewhere.pages["/"] = f'<a id="link" href="{pending.visit_url}">see this</a>'
    browser.get(elsewhere.url("localhost"))
    element(browser, "#link").click()
    until(browser, "Allow or refuse?")
    assert discharger.is_open(pending)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_another_sites_post_answers_nothing(
    discharger: Discharger, open_browser: OpenBrowser, elsewhere: Elsewhere, host: str
) -> None:
    """With the form's own secret, even; from another site and from the same one at another port. Our page's counts."""
    browser = open_browser()
    pending = discharger.begin()
    log_in(browser, pending)
    secret = element(browser, ".answers [name=form]").get_attribute("value")
    for policy in ("no-referrer", "unsafe-url"):
        elsewhere.pages["/"] = (
            f'<meta name="referrer" content="{policy}"><form method="post" action="{discharger.location}/visit">'
            f'<input name="visit" value="{pending.visit}"><input name="form" value="{secret}">'
            '<button id="trap" name="answer" value="allow">win a prize</button></form>'
        )
        browser.get(elsewhere.url(host))
        element(browser, "#trap").click()
        until(browser, "Refused")
        assert "This came from another site’s page" in text_of(browser)
        assert discharger.is_open(pending)
    browser.get(pending.visit_url)
    element(browser, "button[value=allow]").click()
    until(browser, "Allowed")
    assert discharger.caveats(discharger.finish(pending)) == DISCHARGED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_no_page_can_be_framed(
    discharger: Discharger, open_browser: OpenBrowser, elsewhere: Elsewhere, host: str
) -> None:
    """Nobody can put a button of ours below his own; a page that allows it is shown in the same frame."""
    browser = open_browser()
    pending = discharger.begin()
    log_in(browser, pending)
    elsewhere.pages["/plain"] = '<button name="answer">fine</button>'
    for framed, buttons in ((f"{elsewhere.url(host)}/plain", 1), (pending.visit_url, 0)):
        elsewhere.pages["/"] = f'<title>a trap</title><iframe src="{framed}"></iframe>'
        browser.get(elsewhere.url(host))
        browser.switch_to.frame(element(browser, "iframe"))
        assert len(browser.find_elements(By.CSS_SELECTOR, "button[name=answer]")) == buttons
        browser.switch_to.default_content()
    said = [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert any("frame" in message and discharger.location in message for message in said)


def test_going_back_answers_nothing_again(discharger: Discharger, open_browser: OpenBrowser) -> None:
    """A browser may still show the page; its buttons do nothing any more."""
    browser = open_browser()
    pending = discharger.begin()
    log_in(browser, pending)
    element(browser, "button[value=allow]").click()
    until(browser, "Allowed")
    browser.back()
    until(browser, "Allow or refuse?")
    element(browser, "button[value=refuse]").click()
    until(browser, "Answered already")
    assert "Your answer was: allowed." in text_of(browser)
    assert discharger.caveats(discharger.finish(pending)) == DISCHARGED


def test_after_logout_the_page_in_another_window_answers_nothing(
    discharger: Discharger, open_browser: OpenBrowser
) -> None:
    """And leads to the login form; whoever logs in there may answer."""
    browser = open_browser()
    pending = discharger.begin()
    log_in(browser, pending)
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(pending.visit_url)
    until(browser, "Allow or refuse?")
    element(browser, ".logout button").click()
    until(browser, "You are logged out")
    browser.switch_to.window(first)
    element(browser, "button[value=allow]").click()
    until(browser, "Refused")
    assert "You are not logged in, or no longer." in text_of(browser)
    element(browser, "a.button").click()
    until(browser, "Log in")
    assert discharger.is_open(pending)
