"""Other sites, frames, and requests that no page of ours sends: refused whatever cookies come along."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.discharge.people.conftest import Discharger, Page, Pending, Person

POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
ELSEWHERE = "This came from another site’s page, not from one of this service. Nothing has been done."
HERE = "(this service)"


def _own(value: str, discharger: Discharger) -> str:
    return value.replace(HERE, discharger.location)


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"origin": "null", "sec-fetch-site": "same-origin"}, True),  # what Chromium sends from our pages
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": HERE}, True),  # browsers without Sec-Fetch-Site
        ({}, True),  # text browsers
        ({"origin": "null"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
        ({"origin": HERE, "sec-fetch-site": "cross-site"}, False),
        ({"origin": HERE, "sec-fetch-site": "same-site"}, False),
        ({"origin": HERE, "sec-fetch-site": "none"}, False),
        ({"origin": HERE, "sec-fetch-site": ""}, False),
        ({"origin": HERE, "sec-fetch-site": "Same-Origin"}, False),
        ({"origin": f"{HERE}0"}, False),
        ({"origin": f"{HERE}/"}, False),
        ({"origin": f"{HERE}.evil.example"}, False),
        ({"origin": f"{HERE} {HERE}"}, False),
        ({"origin": ""}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_posts_count_from_our_own_pages_alone(discharger: Discharger, headers: dict[str, str], *, good: bool) -> None:
    """To log in, to answer and to log out, even with the right form; what is refused has done nothing."""
    sent = {name: _own(value, discharger) for name, value in headers.items()}
    pending = discharger.begin()
    person = discharger.person()
    form = {**person.see(pending.visit_url).forms["login"], "username": "alice", "password": "correct horse"}
    page = person.post("login", form, sent)
    if not good:
        _is_refused(page)
        assert person.session is None
        page = person.post("login", form)
    answered = person.post("visit", {**page.forms["visit"], "answer": "allow"}, sent)
    if not good:
        _is_refused(answered)
        assert discharger.is_open(pending)
        assert person.answer(page).status == 200
    assert not discharger.is_open(pending)
    out = person.post("logout", page.forms["logout"], sent)
    if not good:
        _is_refused(out)
        assert person.session is not None
        assert person.post("logout", page.forms["logout"]).status == 200
    assert person.session is None


def _is_refused(page: Page) -> None:
    assert (page.status, page.text, page.forms) == (403, f"Refused Refused {ELSEWHERE}", {})


@pytest.mark.parametrize("name", ["origin", "sec-fetch-site"])
def test_a_header_that_is_there_twice_has_to_be_right_twice(discharger: Discharger, name: str) -> None:
    """One that another program added does not hide the browser's own."""
    right = {"origin": discharger.location, "sec-fetch-site": "same-origin"}[name]
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    url = f"{discharger.location}/visit"
    cookie = ("cookie", "; ".join(f"{key}={value}" for key, value in person.cookies.items()))
    fields = {**page.forms["visit"], "answer": "allow"}
    for others in (("cross-site", right), (right, "cross-site")):
        refused = person.http.post(url, data=fields, headers=[cookie, *[(name, other) for other in others]])
        assert refused.status_code == 403
        assert discharger.is_open(pending)
    assert person.http.post(url, data=fields, headers=[cookie, (name, right), (name, right)]).status_code == 200


def _every_page(discharger: Discharger, person: Person, pending: Pending) -> list[Page]:
    """A page of every kind."""
    login = person.see(pending.visit_url)
    wrong = person.post("login", {**login.forms["login"], "username": "alice", "password": "wrong"})
    consent = person.log_in(pending)
    foreign = person.post("visit", consent.forms["visit"], {"origin": "https://evil.example"})
    malformed = person.post("visit", {"a": "b"})
    done = person.answer(consent)
    again = person.answer(consent)
    out = person.post("logout", done.forms["logout"])
    missing = person.see(f"{discharger.location}/visit?id=x")
    return [login, wrong, consent, foreign, malformed, done, again, out, missing]


def test_every_page_has_the_strict_headers(discharger: Discharger) -> None:
    """No frame, no script, nothing from or to elsewhere, nothing stored: whether the page is good news or bad."""
    person = discharger.person()
    pages = _every_page(discharger, person, discharger.begin())
    assert [page.status for page in pages] == [200, 403, 200, 403, 400, 200, 410, 200, 404]
    responses = [page.response for page in pages] + [person.http.get(f"{discharger.location}/style.css")]
    for response in responses:
        headers = response.headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert len(headers.get_list("content-security-policy")) == 1
    assert responses[-1].headers["content-type"] == "text/css; charset=utf-8"


def test_every_page_is_usable_without_a_script_on_a_telephone(discharger: Discharger) -> None:
    """Language, title, viewport, one stylesheet of our own; no script, style, image or handler in the page."""
    for page in _every_page(discharger, discharger.person(), discharger.begin()):
        text = page.response.text
        assert page.response.headers["content-type"] == "text/html; charset=utf-8"
        assert text.startswith('<!DOCTYPE html>\n<html lang="en">\n')
        assert re.search(r"<title>[A-Z][^<{]+</title>", text)
        assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
        assert re.findall(r"<link[^>]*>", text) == [f'<link rel="stylesheet" href="{discharger.location}/style.css">']
        assert not re.search(r"<(script|style|img|iframe|object)|\son[a-z]+=|\sstyle=|javascript:", text, re.IGNORECASE)
        assert text.count("<h1>") == 1
        assert (page.roles == ["alert"]) is (page.status >= 400)


def test_the_login_form_helps_password_managers(discharger: Discharger) -> None:
    """Fields are labelled, named as browsers expect, and the first one to fill has the focus."""
    person = discharger.person()
    pending = discharger.begin()
    text = person.see(pending.visit_url).response.text
    assert re.search(r'<label for="username">Name</label>\s*<input id="username" name="username" value=""[^>]*>', text)
    assert re.search(r'<label for="password">Password</label>\s*<input id="password" name="password" [^>]*>', text)
    assert re.search(r'<input id="username"[^>]* autocomplete="username"[^>]* autofocus>', text)
    assert re.search(r'<input id="password"[^>]* type="password"[^>]* autocomplete="current-password">', text)
    text = person.log_in(pending, "alice", "wrong").response.text
    assert re.search(r'<p class="problem" role="alert" id="problem">The name or the password', text)
    assert re.search(r'<input id="password"[^>]* autofocus aria-describedby="problem">', text)
    assert text.count("autofocus") == 1


@pytest.mark.parametrize(
    "parameter",
    ["return_to=https://evil.example", "next=//evil.example", "redirect_uri=https://evil.example", "id=A"],
)
def test_nothing_leads_elsewhere(discharger: Discharger, parameter: str) -> None:
    """A visit has one parameter, once; no form has a field for an address, an address in a visit's place is none."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.see(f"{pending.visit_url}&{parameter}")
    assert (page.status, page.text) == (
        400,
        "That did not work That did not work What was sent is not what this address takes.",
    )
    form = {**person.see(pending.visit_url).forms["login"], "username": "alice", "password": "correct horse"}
    name, _, value = parameter.partition("=")
    if name != "id":
        assert person.post("login", {**form, name: value}).status == 400
    for visit in (value, f"{pending.visit}&{parameter}", f"{pending.visit}\r\nlocation: {value}"):
        page = person.post("login", {**form, "visit": visit})
        assert (page.status, "evil" in page.response.text) == (404, False)
        assert "location" not in page.response.headers
        out = person.post("logout", {"visit": visit, "form": "x"})
        assert (out.status, "evil" in out.response.text) == (200, False)
    refused = person.post("visit", {"visit": value, "form": "x", "answer": "allow"})
    assert (refused.status, "evil" in refused.response.text, "href" in refused.text) == (403, False, False)
    assert person.post("login", form).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("visit", 400),
        ("visit?id=", 404),
        ("visit?id=a&id=b", 400),
        ("visit?ID=a", 400),
        ("visit?id=%ff", 400),
        ("visit/", 404),
    ],
)
def test_addresses_that_nobody_handed_out(discharger: Discharger, path: str, status: int) -> None:
    """Each has an answer, and none sets a cookie."""
    response = discharger.person().http.get(f"{discharger.location}/{path}")
    assert response.status_code == status
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "login", "POST"),
        ("GET", "logout", "POST"),
        ("HEAD", "login", "POST"),
        ("PUT", "visit", "GET, HEAD, POST"),
        ("DELETE", "visit", "GET, HEAD, POST"),
        ("OPTIONS", "visit", "GET, HEAD, POST"),
        ("POST", "style.css", "GET, HEAD"),
    ],
)
def test_only_posts_change_anything(discharger: Discharger, method: str, path: str, allowed: str) -> None:
    """Another method is refused, and the session goes on."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    url = f"{discharger.location}/{path}"
    response = person.request(method, url, params={**page.forms["logout"]})
    assert response.status_code == 405
    assert sorted(response.headers["allow"].split(", ")) == allowed.split(", ")
    assert person.see(pending.visit_url).forms.keys() == {"visit", "logout"}


def test_a_head_of_a_visit_changes_nothing(discharger: Discharger) -> None:
    """It has a page's headers and no body."""
    pending = discharger.begin()
    person = discharger.person()
    person.log_in(pending)
    response = person.request("HEAD", pending.visit_url)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-security-policy"] == POLICY
    assert discharger.is_open(pending)


@pytest.mark.parametrize("answer", ["", "Allow", "allow ", "yes", "allow,refuse"])
def test_an_answer_is_one_of_two(discharger: Discharger, answer: str) -> None:
    """Anything else is none, and spends nothing."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    refused = person.answer(page, answer)
    assert (refused.status, refused.text) == (400, "That did not work That did not work What was sent is no answer.")
    assert discharger.is_open(pending)
    assert person.answer(page).status == 200


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("headers", "change", "status"),
    [
        ({"content-type": FORM}, "", 200),
        ({"content-type": "application/X-WWW-Form-Urlencoded; charset=UTF-8"}, "", 200),
        ({"content-type": f'{FORM};charset="utf-8"'}, "", 200),
        ({}, "", 415),
        ({"content-type": "text/plain"}, "", 415),
        ({"content-type": "multipart/form-data; boundary=x"}, "", 415),
        ({"content-type": "application/json"}, "", 415),
        ({"content-type": f"{FORM}; charset=latin-1"}, "", 415),
        ({"content-type": f"{FORM}, {FORM}"}, "", 415),
        ({"content-type": FORM, "content-encoding": "gzip"}, "", 415),
        ({"content-type": FORM}, "&answer=refuse", 400),
        ({"content-type": FORM}, "&x=y", 400),
        ({"content-type": FORM}, "&x", 400),
        ({"content-type": FORM}, "&x=%ff", 400),
        ({"content-type": FORM}, "&x=\xff", 400),
        ({"content-type": FORM}, "&a=1&b=1&c=1&d=1&e=1&f=1&g=1", 400),
        ({"content-type": FORM}, "&x=" + "y" * 16_384, 413),
    ],
)
def test_forms_are_read_strictly(discharger: Discharger, headers: dict[str, str], change: str, status: int) -> None:
    """Of one media type, within 16 KiB, each field once and no other; whatever else comes spends nothing."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    fields = {**page.forms["visit"], "answer": "allow"}
    body = "&".join(f"{name}={value}" for name, value in fields.items()) + change
    sent = {**person.sent, **headers}
    response = person.request("POST", f"{discharger.location}/visit", sent, content=body.encode("latin-1"))
    assert response.status_code == status
    assert response.headers["content-security-policy"] == POLICY
    assert discharger.is_open(pending) is (status != 200)


def test_two_content_types_are_none(discharger: Discharger) -> None:
    """Whichever comes first."""
    person = discharger.person()
    pending = discharger.begin()
    page = person.log_in(pending)
    fields = {**page.forms["visit"], "answer": "allow"}
    cookie = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    for second in ("text/plain", FORM):
        refused = person.http.post(
            f"{discharger.location}/visit",
            content="&".join(f"{name}={value}" for name, value in fields.items()),
            headers=[("cookie", cookie), ("content-type", FORM), ("content-type", second)],
        )
        assert refused.status_code == 415
    assert discharger.is_open(pending)


def test_the_whole_body_counts_however_it_comes(discharger: Discharger) -> None:
    """In pieces without a length, too."""
    person = discharger.person()
    pending = discharger.begin()
    page = person.log_in(pending)
    body = "&".join(f"{name}={value}" for name, value in {**page.forms["visit"], "answer": "allow"}.items()).encode()
    sent = {**person.sent, "content-type": FORM}
    url = f"{discharger.location}/visit"
    endless = person.request("POST", url, sent, content=(b"x" * 1_024 for _ in range(20)))
    assert endless.status_code == 413
    assert (
        person.request("POST", url, sent, content=(body[at : at + 7] for at in range(0, len(body), 7))).status_code
        == 200
    )
