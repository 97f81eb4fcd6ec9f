"""Logging in and out: sessions that nobody can choose, know or keep alive; attempts are counted, and cost little."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest

from capsvc.discharge import KeyPair, passwords, signin, users
from capsvc.discharge.forms import page_origin
from capsvc.discharge.session import SessionLogin
from capsvc.discharge.users import Users
from capsvc.macaroon.thirdparty import key_text

if TYPE_CHECKING:
    from tests.discharge.people.conftest import Discharger, Page, Pending, Person, Start

WRONG = "The name or the password is not right."
BUSY = "Too many people log in at this moment. Try again."


def attempt(person: Person, pending: Pending, name: str = "alice", password: str = "wrong") -> Page:
    """Open the form and try."""
    return person.log_in(pending, name, password)


def is_logged_in(person: Person, pending: Pending) -> bool:
    """Whether the visit's page asks for consent, rather than for a password."""
    return "visit" in person.see(pending.visit_url).forms


def test_a_login_makes_a_session_in_one_cookie(discharger: Discharger) -> None:
    """Of this host alone, over TLS, out of scripts' reach, not sent with other sites' posts, gone with the browser."""
    pending = discharger.begin()
    person = discharger.person()
    opened = person.request("GET", pending.visit_url)
    (first,) = opened.headers.get_list("set-cookie")
    name, _, rest = first.partition("=")
    assert name.startswith("__Host-capsvc-login-")
    assert rest[22:] == "; Path=/; Secure; HttpOnly; SameSite=Lax"
    form = person.see(pending.visit_url).forms["login"]
    fields = {**form, "username": "alice", "password": "correct horse"}
    response = person.request("POST", f"{discharger.location}/login", person.sent, data=fields)
    assert (response.status_code, response.headers["location"]) == (303, pending.visit_url)
    made, ended = response.headers.get_list("set-cookie")
    name, _, rest = made.partition("=")
    assert name.startswith("__Host-capsvc-session-")
    assert rest[43:] == "; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert ended.startswith("__Host-capsvc-login-")
    assert ended.endswith("=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    assert is_logged_in(person, pending)


def test_two_dischargers_on_one_host_have_different_cookies(start: Start) -> None:
    """To be logged in at one is not to be logged out at the other."""
    one, two = start(), start()
    person = one.person()
    first, second = one.begin(), two.begin()
    person.log_in(first)
    person.discharger = two
    person.log_in(second, "bob")
    assert "Logged in as alice" in person.see(first.visit_url).text
    assert "Logged in as bob" in person.see(second.visit_url).text


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", "wrong"),
        ("alice", "päßwörd & <b>"),
        ("alice", "correct horse "),
        ("nobody", "correct horse"),
        ("Alice", "correct horse"),
        ("", "correct horse"),
        ("al\x00ice", "correct horse"),
        ("x" * 2_000, "correct horse"),
        ("alice", "x" * 1_025),
    ],
)
def test_a_wrong_password_or_name_makes_none(discharger: Discharger, name: str, password: str) -> None:
    """The form comes back with one sentence for all of them, and the name in it; the right ones are taken."""
    pending = discharger.begin()
    person = discharger.person()
    page = attempt(person, pending, name, password)
    assert (page.status, page.roles, person.session) == (403, ["alert"], None)
    assert WRONG in page.text
    assert page.forms["login"]["username"] == name[:128]
    assert page.forms["login"]["password"] == ""
    assert password not in page.response.text
    assert discharger.is_open(pending)
    assert person.log_in(pending).forms.keys() == {"visit", "logout"}


def test_a_name_is_taken_without_the_spaces_around_it(discharger: Discharger) -> None:
    """Telephones add one; any other password than one's own is not taken, whatever it holds."""
    pending = discharger.begin()
    assert "Logged in as bob" in discharger.person().log_in(pending, " bob  ", "päßwörd & <b>").text
    page = attempt(discharger.person(), pending, 'a"><script>alert(1)</script>')
    assert "<script" not in page.response.text
    assert page.forms["login"]["username"] == 'a"><script>alert(1)</script>'


def test_a_session_id_that_was_planted_is_never_used(discharger: Discharger) -> None:
    """Session fixation: whatever a browser has before it logs in, what it has afterwards is fresh."""
    pending = discharger.begin()
    attacker, victim = discharger.person(), discharger.person()
    attacker.log_in(pending, "bob")
    (name,) = (name for name in attacker.cookies if "session" in name)
    invented = "A" * 43
    for planted in (attacker.cookies[name], invented):
        victim.cookies = {name: planted}
        if planted == invented:
            assert not is_logged_in(victim, pending)
            victim.log_in(pending)
        else:  # the victim uses the attacker's session, sees so, and logs in as himself
            page = victim.see(pending.visit_url)
            assert "Logged in as bob" in page.text
            victim.post("logout", page.forms["logout"])
            victim.log_in(pending)
        assert victim.session not in {planted, None}
        assert is_logged_in(victim, pending)
        victim_cookies = dict(victim.cookies)
        victim.cookies = {name: planted}
        assert not is_logged_in(victim, pending)
        victim.cookies = victim_cookies


def test_a_login_ends_the_session_that_was_there(discharger: Discharger) -> None:
    """In another window the login form is still open: who logs in there is another, and the former session is over."""
    pending = discharger.begin()
    person = discharger.person()
    form = person.see(pending.visit_url).forms["login"]
    before = dict(person.cookies)
    person.post("login", {**form, "username": "alice", "password": "correct horse"})
    alices = dict(person.cookies)
    person.cookies = {**before, **alices}
    page = person.post("login", {**form, "username": "bob", "password": "päßwörd & <b>"})
    assert "Logged in as bob" in page.text
    person.cookies = alices
    assert not is_logged_in(person, pending)


def test_somebody_cannot_be_logged_in_as_another(discharger: Discharger) -> None:
    """Login CSRF: a form that another browser opened does not count, nor one without a cookie, nor a guess."""
    pending = discharger.begin()
    attacker, victim = discharger.person(), discharger.person()
    form = {**attacker.see(pending.visit_url).forms["login"], "username": "bob", "password": "päßwörd & <b>"}
    refused = victim.post("login", form)
    assert (refused.status, refused.text) == (
        403,
        "Refused Refused Your browser has sent no cookie, and a login needs one. You are not logged in. Try again",
    )
    victim.see(pending.visit_url)
    for secret in (form["form"], "", "A" * 22, "ä"):
        refused = victim.post("login", {**form, "form": secret})
        assert (refused.status, refused.text) == (
            403,
            "Refused Refused This form was not opened by this browser. You are not logged in. Try again",
        )
    assert victim.session is None
    assert "Logged in as bob" in attacker.post("login", form).text


def test_several_windows_can_have_the_form_open(discharger: Discharger) -> None:
    """The second does not make the first one useless."""
    first, second = discharger.begin(), discharger.begin()
    person = discharger.person()
    form = person.see(first.visit_url).forms["login"]
    person.see(second.visit_url)
    page = person.post("login", {**form, "username": "alice", "password": "correct horse"})
    assert page.forms.keys() == {"visit", "logout"}


@pytest.mark.parametrize("value", ["", "x", "A" * 42, "A" * 44, "ä" * 43, "A" * 42 + "!", '"' + "A" * 41 + '"'])
def test_a_cookie_that_is_none_of_ours_is_none(discharger: Discharger, value: str) -> None:
    """And one that is there twice with two values is neither: somebody has put one beside the other."""
    pending = discharger.begin()
    person = discharger.person()
    person.log_in(pending)
    (name, good), *_ = person.cookies.items()
    for cookie, answer in (
        (f"{name}={value}", "login"),
        (f"{name}={good}; {name}={value}", "login"),
        (f"{name}={value}; {name}={good}", "login"),
        (f"other{name}={good}", "login"),
        (f"{name.lower()}={good}", "login"),
        (f"{name}={good}", "visit"),
        (f"a=b; {name}={good}; c=d", "visit"),
    ):
        response = person.http.get(pending.visit_url, headers={b"cookie": cookie.encode()})
        assert f'action="{discharger.location}/{answer}"' in response.text, cookie


@pytest.mark.parametrize(("second", "good"), [(-1, True), (0, False), (1, False)])
def test_a_session_ends_by_idleness_and_by_age(start: Start, second: int, *, good: bool) -> None:
    """Then the browser is asked for a password again, and what it consented to is worth nothing."""
    discharger = start(login={"idle": 300, "lifetime": 500})
    person = discharger.person()
    person.log_in(discharger.begin())
    began = discharger.clock.now
    discharger.clock.now += 299
    pending = discharger.begin()
    assert is_logged_in(person, pending)
    discharger.clock.now = began + 500 + second
    assert is_logged_in(person, pending) is good
    person = discharger.person()
    person.log_in(pending)
    discharger.clock.now += 300 + second
    assert is_logged_in(person, pending) is good


def test_logout_ends_the_session_at_once(discharger: Discharger) -> None:
    """For whoever still has the cookie too, and for the pages that are open; the page leads back to the visit."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    kept = dict(person.cookies)
    out = person.post("logout", page.forms["logout"])
    assert (out.status, out.text) == (
        200,
        "You are logged out You are logged out You can close this window. Log in again",
    )
    assert f'href="{pending.visit_url}"' in out.response.text
    assert person.session is None
    person.cookies = kept
    assert not is_logged_in(person, pending)
    again = person.post("logout", page.forms["logout"])
    assert again.status == 200
    assert person.log_in(pending).forms.keys() == {"visit", "logout"}


def test_nobody_is_logged_out_by_another(discharger: Discharger) -> None:
    """It takes the session's own form."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    for secret in ("", "A" * 22, page.forms["visit"]["form"]):
        refused = person.post("logout", {**page.forms["logout"], "form": secret})
        assert (refused.status, refused.text) == (
            403,
            "Refused Refused This form was not opened by this session. You are still logged in. See who asks",
        )
    assert is_logged_in(person, pending)
    assert person.post("logout", page.forms["logout"]).status == 200
    assert not is_logged_in(person, pending)


def test_who_is_removed_is_logged_out(discharger: Discharger) -> None:
    """At the next request, for good: a user of that name who comes later has to log in."""
    pending = discharger.begin()
    alice, bob = discharger.person(), discharger.person()
    page = alice.log_in(pending)
    bob.log_in(pending, "bob")
    line = discharger.users.lines.pop("alice")
    discharger.users.write()
    refused = alice.answer(page)
    assert (refused.status, "You are not logged in, or no longer." in refused.text) == (403, True)
    assert WRONG in attempt(alice, pending, "alice", "correct horse").text
    assert is_logged_in(bob, pending)
    discharger.users.lines["alice"] = line
    discharger.users.write()
    assert not is_logged_in(alice, pending)
    assert alice.log_in(pending).forms.keys() == {"visit", "logout"}


def test_without_a_users_file_nobody_logs_in(discharger: Discharger) -> None:
    """It says that it does not work now, not that the password is wrong."""
    pending = discharger.begin()
    person = discharger.person()
    discharger.users.write("alice:x\n")
    page = attempt(person, pending, "alice", "correct horse")
    assert (page.status, person.session) == (503, None)
    assert "This service cannot read who its users are." in page.text
    discharger.users.write()
    assert person.log_in(pending).forms.keys() == {"visit", "logout"}


def test_attempts_are_counted_before_anything_is_hashed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The eleventh has to wait a minute, even with the right password; elsewhere it is taken, and later it is here."""
    hashed: list[str] = []

    def is_right(text: str, password: str) -> bool:
        hashed.append(password)
        return passwords.is_right(text, password)

    monkeypatch.setattr(users, "is_right", is_right)
    discharger = start(trusted_proxies=["127.0.0.1"])
    pending = discharger.begin()
    person, elsewhere = discharger.person("192.0.2.7"), discharger.person("198.51.100.1")
    for _ in range(10):
        assert WRONG in attempt(person, pending).text
    page = attempt(person, pending, "alice", "correct horse")
    assert (page.status, page.response.headers["retry-after"], page.roles) == (429, "60", ["alert"])
    assert "Too many attempts. Try again in 60 seconds." in page.text
    assert page.forms["login"]["username"] == "alice"
    assert hashed == ["wrong"] * 10
    assert WRONG in attempt(person, pending, "bob").text
    assert elsewhere.log_in(pending).forms.keys() == {"visit", "logout"}
    discharger.clock.now += 59
    assert attempt(person, pending, "alice", "correct horse").response.headers["retry-after"] == "1"
    discharger.clock.now += 1
    assert person.log_in(pending).forms.keys() == {"visit", "logout"}


@pytest.mark.parametrize("password", ["", "x" * 1_025])
def test_what_is_no_password_counts_for_nothing(start: Start, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    """It is refused before it is counted, hashed or logged, so that nobody tries for free and pushes others out."""
    hashed: list[str] = []

    def is_right(_: str, tried: str) -> bool:
        hashed.append(tried)
        return False

    monkeypatch.setattr(users, "is_right", is_right)
    discharger = start()
    pending = discharger.begin()
    person = discharger.person()
    form = person.see(pending.visit_url).forms["login"]
    for _ in range(40):
        page = person.post("login", {**form, "username": "alice", "password": password})
        assert (page.status, page.roles, WRONG in page.text) == (403, ["alert"], True)
    assert hashed == []
    for _ in range(10):
        assert attempt(person, pending).status == 403
    assert attempt(person, pending).status == 429
    assert hashed == ["wrong"] * 10


def test_logins_that_succeed_are_not_counted(discharger: Discharger) -> None:
    """Somebody may log in and out as often as he likes."""
    pending = discharger.begin()
    person = discharger.person()
    for _ in range(12):
        page = person.log_in(pending)
        assert page.status == 200
        person.post("logout", page.forms["logout"])


def test_nobody_can_burn_the_machine(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two passwords are hashed at a time, some wait, one more is told to come again; and it does not count."""
    under_way = threading.Semaphore(0)
    release = threading.Event()

    def is_right(text: str, password: str) -> bool:
        under_way.release()
        assert release.wait(60)
        return passwords.is_right(text, password)

    monkeypatch.setattr(users, "is_right", is_right)
    discharger = start(trusted_proxies=["127.0.0.1"])
    pending = discharger.begin()
    crowd = [discharger.person(f"192.0.2.{number}") for number in range(18)]
    pages: list[Page] = []

    def log_in(person: Person, name: str) -> None:
        pages.append(person.log_in(pending, name))

    threads = [
        threading.Thread(target=log_in, args=(person, ("alice", "bob")[number % 2]))
        for number, person in enumerate(crowd)
    ]
    late = discharger.person()
    late.see(pending.visit_url)
    for thread in threads[:2]:
        thread.start()
    assert under_way.acquire(timeout=60)
    assert under_way.acquire(timeout=60)
    for thread in threads[2:]:
        thread.start()
    try:
        pool = discharger.login._parts()[2]._sign_in._pool
        deadline = time.monotonic() + 60
        while pool._free._value:  # until they all wait
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(12):
            page = late.log_in(pending)
            assert (page.status, page.response.headers["retry-after"], page.roles) == (503, "2", ["alert"])
            assert BUSY in page.text
        assert late.see(pending.visit_url).status == 200  # meanwhile pages are answered
    finally:
        release.set()
        for thread in threads:
            thread.join(60)
    assert [page.forms.keys() for page in pages] == [{"visit", "logout"}] * len(crowd)
    assert late.log_in(pending).forms.keys() == {"visit", "logout"}


def test_too_little_memory_is_no_wrong_password(discharger: Discharger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the service that cannot, and the attempt does not count."""
    from argon2.exceptions import VerificationError

    def is_right(_text: str, _password: str) -> bool:
        raise VerificationError("Memory allocation error")

    pending = discharger.begin()
    person = discharger.person()
    with monkeypatch.context() as patched:
        patched.setattr(users, "is_right", is_right)
        for _ in range(12):
            page = person.log_in(pending)
            assert (page.status, BUSY in page.text) == (503, True)
    assert person.log_in(pending).forms.keys() == {"visit", "logout"}


def test_the_log_tells_who_but_no_secret(discharger: Discharger, caplog: pytest.LogCaptureFixture) -> None:
    """Logins, failures, answers and logouts; no password, form, cookie or visit, nor a name that is nobody's."""
    caplog.set_level(logging.INFO, "capsvc.discharge")
    pending = discharger.begin()
    person = discharger.person()
    attempt(person, pending, "alice", "wrong password")
    attempt(person, pending, "correct horse\nalice logged in", "alice")
    page = person.log_in(pending)
    secrets = [*person.cookies.values(), page.forms["visit"]["form"], page.forms["logout"]["form"], pending.visit]
    secrets += ["wrong password", "correct horse", pending.wait_url.rpartition("=")[2]]
    done = person.answer(page)
    person.post("logout", done.forms["logout"])
    party = key_text(discharger.first.public)
    assert [record.getMessage() for record in caplog.records if record.name == "capsvc.discharge"] == [
        "a login as alice failed, from 127.0.0.1",
        "a login as nobody failed, from 127.0.0.1",
        "alice logged in, from 127.0.0.1",
        f"alice: Allowed a discharge for {party}, begun from 127.0.0.1",
        "alice logged out",
    ]
    assert not any(secret in caplog.text for secret in secrets)


@pytest.mark.parametrize(
    ("location", "origin"),
    [
        ("https://login.example", "https://login.example"),
        ("https://Login.Example:443/dis", "https://login.example"),
        ("https://login.example:8443/dis", "https://login.example:8443"),
        ("https://[2001:DB8::0:1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8701", "http://127.0.0.1:8701"),
        ("http://127.0.0.2:80", "http://127.0.0.2"),
        ("http://localhost:8701", "http://localhost:8701"),
        ("http://[::1]:8701", "http://[::1]:8701"),
        ("http://login.example", None),
        ("http://192.0.2.1:8701", None),
        ("http://0.0.0.0:8701", None),
        ("http://localhost.example", None),
    ],
)
def test_people_log_in_where_browsers_keep_our_cookies(location: str, origin: str | None) -> None:
    """Over https anywhere, over http at a loopback address alone; the origin is as browsers spell it."""
    if origin is not None:
        assert page_origin(location) == origin
        return
    with pytest.raises(ValueError, match="people log in over https, or over http at a loopback address"):
        page_origin(location)


def test_a_login_belongs_to_one_discharger(discharger: Discharger, start: Start) -> None:
    """It is installed once, and before all else; names of first parties go by keys that are some."""
    known = Users(discharger.users.path)
    login = SessionLogin(known)
    with pytest.raises(ValueError, match="not installed"):
        login.user(b"token", b"caveat")
    login.install(discharger.login._parts()[0])
    assert login.user(b"token", b"caveat") is None
    with pytest.raises(ValueError, match="belongs to one discharger"):
        login.install(discharger.login._parts()[0])
    with pytest.raises(ValueError, match="a public key is 32 octets"):
        SessionLogin(known, names={"photos": "key"})
    SessionLogin(known, names={key_text(KeyPair.generate().public): "photos"})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (2, "2 seconds"), (119, "119 seconds"), (120, "2 minutes"), (121, "3 minutes")],
)
def test_how_long_to_wait_is_said_in_words(seconds: int, text: str) -> None:
    """Rounded up."""
    assert signin._duration(seconds) == text
