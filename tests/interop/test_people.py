"""Others' clients at our discharger, with a person at a real browser who visits, logs in and consents, or does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from .libraries import Discharger, GatheringError, Library, third
from .ours import PERSON, OurDischarger
from .service import Service

CONDITION = "is-authenticated-user"
PATIENCE = 60  # seconds
OpenBrowser = Callable[[], Chrome]


class Desk:
    """A person at a browser, who decides as told; ``pages`` are the titles seen."""

    def __init__(self, browser: Chrome) -> None:
        self._browser = browser
        self.pages: list[str] = []

    def decide(self, answer: str, page: str) -> None:
        """Visit a page, log in if that is wanted, and press a button: ``allow`` or ``refuse``."""
        self._browser.get(page)
        self.pages.append(self._browser.title)
        if self._browser.find_elements(By.NAME, "password"):
            self._browser.find_element(By.NAME, "username").send_keys(PERSON.name)
            self._browser.find_element(By.NAME, "password").send_keys(PERSON.password, Keys.ENTER)
        wait = WebDriverWait(self._browser, PATIENCE)
        wait.until(lambda browser: browser.find_element(By.CSS_SELECTOR, f"button[value={answer}]")).click()
        wait.until_not(lambda browser: browser.find_elements(By.CSS_SELECTOR, "button[value=refuse]"))

    def allow(self, page: str) -> None:
        """Consent."""
        self.decide("allow", page)

    def refuse(self, page: str) -> None:
        """Do not."""
        self.decide("refuse", page)


@pytest.fixture
def desk(open_browser: OpenBrowser) -> Desk:
    """Somebody who has not logged in yet."""
    return Desk(open_browser())


def test_a_person_logs_in_and_consents(service: Service, session: OurDischarger, library: Library, desk: Desk) -> None:
    """In a real browser, which the client sends to a page and waits for; every discharge takes a consent of its own."""
    token = service.asking(session, CONDITION, "username", subject=PERSON.name)
    answer = service.allows(library.gather(token, visit=desk.allow))
    assert answer["declared"] == {"session": {"username": PERSON.name}}
    service.allows(library.gather(token, visit=desk.allow))
    assert desk.pages == ["Log in", "Allow or refuse?"]


def test_a_person_refuses(service: Service, session: OurDischarger, library: Library, desk: Desk) -> None:
    """The client that waits learns it at once, and has no bundle."""
    token = service.asking(session, CONDITION)
    with pytest.raises(GatheringError, match=r"cannot (acquire discharge token: whoever was asked refused|get http)"):
        library.gather(token, visit=desk.refuse)
    service.allows(library.gather(token, visit=desk.allow))


def test_somebody_is_asked_on_behalf_of_others(
    service: Service, session: OurDischarger, both: tuple[Discharger, Discharger], library: Library, desk: Desk
) -> None:
    """A discharger of theirs sends on to ours for the login; their client brings somebody there, and so does ours."""
    (other,) = [one for one in both if one.name != library.name]
    other.answers("signed", third(session, CONDITION))
    service.register(session)
    token = service.asking(other, "signed")
    service.allows(library.gather(token, visit=desk.allow))
    service.allows(service.by_auth(token, visit=desk.allow))
