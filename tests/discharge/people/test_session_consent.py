"""Consent: each discharge takes one, from whoever opened its page, in time, once, knowing who asks."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.requests import Request

from capsvc.cli.discharging import _checker_and_logins as checker_and_logins
from capsvc.client.agents import Agents
from capsvc.client.bakery import read_login
from capsvc.client.steps import Reply
from capsvc.discharge import (
    AgentLogin,
    Answer,
    Declared,
    Interaction,
    KeyPair,
    Refused,
    SessionLogin,
    Users,
    session_checker,
)
from capsvc.macaroon.thirdparty import key_text

if TYPE_CHECKING:
    from tests.discharge.people.conftest import Discharger, Page, Pending, Start

TEN_MINUTES = 600
UNTIL = "time-before 2026-11-22T12:05:00Z"


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of bakery's error."""
    return answer.status_code, answer.json()["Code"]


def test_consent_brings_one_discharge(discharger: Discharger) -> None:
    """Log in, see who asks, allow: the program that began has a token, and with it a discharge, once."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    assert page.status == 200
    assert page.forms.keys() == {"visit", "logout"}
    done = person.answer(page)
    assert (done.status, done.text) == (
        200,
        "Allowed Allowed The program goes on by itself. You can close this window. Log out alice",
    )
    token = {"token64": discharger.wait(pending).json()["token64"], "token-kind": "browser-window"}
    assert discharger.caveats(discharger.ask(pending.caveat, **token)) == [UNTIL, "declared username alice"]
    assert code(discharger.ask(pending.caveat, **token)) == (401, "permission denied")
    assert code(discharger.wait(pending)) == (404, "not found")


def test_a_program_that_went_and_comes_back(discharger: Discharger) -> None:
    """It gives up after a second, before anybody has decided; somebody then does, and it asks again for the token."""
    pending = discharger.begin()
    person = discharger.person()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(pending.wait_url, timeout=1)
    page = person.log_in(pending)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(pending.wait_url, timeout=1)
    assert discharger.is_open(pending)
    assert person.answer(page).status == 200
    assert discharger.caveats(discharger.finish(pending)) == [UNTIL, "declared username alice"]
    assert code(discharger.wait(pending)) == (404, "not found")


def test_refusal_brings_none(discharger: Discharger) -> None:
    """The program learns of it, and nobody can allow it afterwards."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    done = person.answer(page, "refuse")
    assert (done.status, done.text) == (
        200,
        "Refused Refused Whoever began this has got nothing. You can close this window. Log out alice",
    )
    assert code(discharger.wait(pending)) == (401, "permission denied")
    again = person.answer(page)
    assert (again.status, again.text) == (
        410,
        "Answered already Answered already Your answer was: refused. It counts once, and has counted.",
    )


def test_what_nobody_asked_for_is_not_stated(discharger: Discharger) -> None:
    """A condition without need-declared is answered without a name, and the page says so; others are stated empty."""
    person = discharger.person()
    pending = discharger.begin(discharger.caveat("is-authenticated-user"))
    page = person.log_in(pending)
    assert "What it is told That it is so, and nothing else" in page.text
    person.answer(page)
    assert discharger.caveats(discharger.finish(pending)) == [UNTIL]
    pending = discharger.begin(discharger.caveat("need-declared email,username is-authenticated-user"))
    page = person.see(pending.visit_url)
    assert "email : what this service holds of you under that name, or nothing username : alice" in page.text
    person.answer(page)
    assert discharger.caveats(discharger.finish(pending)) == [UNTIL, "declared email ", "declared username alice"]


def test_the_page_promises_nothing_for_a_checker_that_it_does_not_know(start: Start) -> None:
    """What a checker of one's own states is its own affair; it may be told to the page, which then says so."""

    async def own(_condition: str, request: Request) -> Answer:
        return Interaction() if request.state.user is None else Declared({"username": "root", "team": "blue"})

    held = "what this service holds of you under that name, or nothing"
    for login, told in (
        ({}, f"team : {held} username : {held}"),
        ({"stated": lambda user: {"team": f"{user}'s"}}, f"team : alice's username : {held}"),
    ):
        discharger = start(checker=own, login=login)
        pending = discharger.begin(discharger.caveat("need-declared team,username anything"))
        person = discharger.person()
        page = person.log_in(pending)
        assert f"What it is told {told} Begun at" in page.text
        person.answer(page)
        assert discharger.caveats(discharger.finish(pending))[1:] == ["declared team blue", "declared username root"]


@pytest.mark.parametrize(("checker", "stated"), [("session", {"username": "alice"}), ("ownchecks:check", {})])
def test_what_the_command_line_tells_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checker: str, stated: Mapping[str, str]
) -> None:
    """It promises a user's name for the session checker, and nothing for any other that people log in for."""
    (tmp_path / "ownchecks.py").write_text("async def check(condition, request): ...")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users").touch(0o600)
    _, (login,) = checker_and_logins(
        {"checker_name": checker, "users": tmp_path / "users", "principals": None, "trust": ()}
    )
    assert isinstance(login, SessionLogin)
    assert login._stated("alice") == stated


def test_the_page_says_who_asks_for_what(start: Start) -> None:
    """The first party by name and key, the condition, what it is told, when and from where it began, and who reads."""
    discharger = start(trusted_proxies=["127.0.0.1"])
    discharger.clock.now += 61
    pending = discharger.begin(address="192.0.2.7")
    page = discharger.person("192.0.2.7").log_in(pending)
    assert page.text.partition("Who asks")[2] == (
        f" Photo <service> {key_text(discharger.first.public)} What for is-authenticated-user"
        " What it is told username : alice Begun at 2026-11-22 12:01:01 UTC Begun from 192.0.2.7"
        " This browser is at 192.0.2.7 (the same) Logged in as alice Refuse Allow as alice Log out alice"
    )
    assert "Refuse unless you began this yourself, just now. Whoever began it gets what you allow" in page.text
    assert "another address" not in page.text
    assert page.roles == []
    assert "Photo &lt;service&gt;" in page.response.text


def test_the_page_warns_of_another_address(start: Start) -> None:
    """A visit link that was sent to somebody else: the page says from where it was begun, and that he is elsewhere."""
    discharger = start(trusted_proxies=["127.0.0.1"])
    pending = discharger.begin(address="203.0.113.66")
    person = discharger.person("192.0.2.7")
    page = person.log_in(pending)
    assert page.roles == ["alert"]
    assert "It was begun from another address than this browser has." in page.text
    assert "Begun from 203.0.113.66 This browser is at 192.0.2.7 Logged in as" in page.text
    assert person.answer(page).status == 200
    assert discharger.finish(pending).status_code == 200


def test_an_address_that_is_not_known_is_another(start: Start) -> None:
    """Two that are not known are not the same."""
    discharger = start(trusted_proxies=["127.0.0.1"])
    pending = discharger.begin(address="unknown")
    page = discharger.person("unknown").log_in(pending)
    assert page.roles == ["alert"]
    assert "Nobody knows whether it was begun at this browser’s address." in page.text
    assert "another address" not in page.text
    known = "an address that is not known"
    assert f"Begun from {known} This browser is at {known} Logged in as" in page.text


def test_a_first_party_without_a_name_is_its_key(start: Start) -> None:
    """No name is made up for it."""
    discharger = start()
    discharger.login._names.clear()
    page = discharger.person().log_in(discharger.begin())
    assert f"Who asks Nobody this service knows by name {key_text(discharger.first.public)} What for" in page.text


def test_one_address_for_both_can_be_required(start: Start) -> None:
    """Then nobody is even asked from another one, nor does a page count that was opened before; nothing is spent."""
    discharger = start(trusted_proxies=["127.0.0.1"], same_address=True)
    pending = discharger.begin(address="203.0.113.66")
    elsewhere = discharger.person("192.0.2.7")
    page = elsewhere.log_in(pending)
    text = (
        "This began at 203.0.113.66, and your browser is at 192.0.2.7. This service allows only what began at the same"
        " address."
    )
    assert (page.status, page.text, page.forms) == (403, f"Refused Refused {text}", {})
    assert discharger.is_open(pending)
    there = discharger.person("203.0.113.66")
    page = there.log_in(pending)
    there.headers["x-forwarded-for"] = "192.0.2.7"
    moved = there.answer(page)
    assert (moved.status, moved.text) == (403, f"Refused Refused {text}")
    assert discharger.is_open(pending)
    there.headers["x-forwarded-for"] = "203.0.113.66"
    assert there.answer(page).status == 200
    assert discharger.finish(pending).status_code == 200


def test_where_one_address_is_required_a_proxy_s_is_none(start: Start) -> None:
    """Behind a proxy that nobody told of all are at its address, and whatever they say they are not believed."""
    discharger = start(same_address=True, known_as="https://login.example.org")
    pending = discharger.begin(address="203.0.113.66")
    page = discharger.person("203.0.113.66").log_in(pending)
    assert (page.status, "This began at an unknown address" in page.text) == (403, True)
    assert discharger.is_open(pending)
    told = start(same_address=True, known_as="https://login.example.org", trusted_proxies=["127.0.0.1"])
    pending = told.begin(address="203.0.113.66")
    person = told.person("203.0.113.66")
    assert person.answer(person.log_in(pending)).status == 200


def test_where_one_address_is_required_an_unknown_one_is_none(start: Start) -> None:
    """Two that are not known could be any two; to refuse, an address does not matter."""
    discharger = start(trusted_proxies=["127.0.0.1"], same_address=True)
    pending = discharger.begin(address="unknown")
    page = discharger.person("unknown").log_in(pending)
    assert (page.status, "This began at an unknown address" in page.text) == (403, True)
    pending = discharger.begin(address="192.0.2.7")
    person = discharger.person("192.0.2.7")
    page = person.log_in(pending)
    person.headers["x-forwarded-for"] = "198.51.100.1"
    assert person.answer(page, "refuse").status == 200
    assert code(discharger.wait(pending)) == (401, "permission denied")


def test_a_session_never_answers_by_itself(discharger: Discharger) -> None:
    """Whoever is logged in is asked for each discharge: neither a visit nor an earlier consent to the same is one."""
    caveat = discharger.caveat()
    person = discharger.person()
    first = discharger.begin(caveat)
    person.answer(person.log_in(first))
    assert discharger.finish(first).status_code == 200
    second = discharger.begin(caveat)
    page = person.see(second.visit_url)
    assert page.forms.keys() == {"visit", "logout"}
    for _ in range(3):
        person.see(second.visit_url)
    assert discharger.is_open(second)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(second.wait_url, timeout=0.5)
    third = discharger.begin(caveat)
    assert discharger.is_open(third)


def test_consent_to_one_is_none_to_another(discharger: Discharger) -> None:
    """The form of one page does not answer another's visit; each of two windows answers its own."""
    person = discharger.person()
    first, second = discharger.begin(), discharger.begin()
    one = person.log_in(first)
    two = person.see(second.visit_url)
    mixed = {**one.forms["visit"], "visit": second.visit, "answer": "allow"}
    refused = person.post("visit", mixed)
    assert (refused.status, "This page was not opened by this session." in refused.text) == (403, True)
    assert discharger.is_open(first)
    assert discharger.is_open(second)
    assert [person.answer(page).status for page in (two, one)] == [200, 200]


def test_consent_twice_counts_once(discharger: Discharger) -> None:
    """The second time says so, from the same page, from one that was opened beside it, and when it is opened again."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    beside = person.see(pending.visit_url)
    assert person.answer(page).status == 200
    said = "Answered already Answered already Your answer was: allowed. It counts once, and has counted."
    for again in (person.answer(page), person.answer(page, "refuse"), person.answer(beside)):
        assert (again.status, again.text) == (410, said)
    assert (person.see(pending.visit_url).status, person.see(pending.visit_url).text) == (410, said)
    assert discharger.finish(pending).status_code == 200


@pytest.mark.parametrize("answer", ["allow", "refuse"])
@pytest.mark.parametrize(("second", "good"), [(-1, True), (0, False), (1, False)])
def test_consent_has_ten_minutes(discharger: Discharger, second: int, answer: str, *, good: bool) -> None:
    """From when the discharge began, whenever its page was opened; then nothing is answered."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    discharger.clock.now += TEN_MINUTES + second
    done = person.answer(page, answer)
    if good:
        assert done.status == 200
        return
    assert (done.status, done.text) == (
        410,
        "Too late Too late This began over ten minutes ago, which is too long. Nothing has been answered; begin again.",
    )
    assert person.see(pending.visit_url).status == 410
    assert code(discharger.wait(pending)) == (404, "not found")


def test_what_took_ten_minutes_to_log_in_is_over(discharger: Discharger) -> None:
    """There is nothing to log in for any more."""
    pending = discharger.begin()
    person = discharger.person()
    form = person.see(pending.visit_url).forms["login"]
    discharger.clock.now += TEN_MINUTES
    page = person.post("login", {**form, "username": "alice", "password": "correct horse"})
    text = "Nothing waits for an answer here: the address is wrong, answered already, or over ten minutes old."
    assert (page.status, page.text) == (404, f"Nothing to decide Nothing to decide {text}")
    assert person.session is None


def test_consent_after_logout_is_none(discharger: Discharger) -> None:
    """Neither from the page that is still open nor, after a new login, with the former session's form."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    cookies = dict(person.cookies)
    assert person.post("logout", page.forms["logout"]).status == 200
    text = "Refused Refused You are not logged in, or no longer. Nothing has been answered. Log in"
    refused = person.answer(page)
    assert (refused.status, refused.text) == (403, text)
    person.cookies.update(cookies)  # the cookie that the browser had
    refused = person.answer(page)
    assert (refused.status, refused.text) == (403, text)
    person.cookies.clear()
    fresh = person.log_in(pending)
    refused = person.answer(page)
    assert (refused.status, "not opened by this session" in refused.text) == (403, True)
    assert discharger.is_open(pending)
    assert person.answer(fresh).status == 200
    assert discharger.finish(pending).status_code == 200


def test_consent_counts_from_the_session_that_opened_the_page(discharger: Discharger) -> None:
    """Another's form, or one's own from another session, is refused; whoever opens the page himself may answer."""
    pending = discharger.begin()
    alice, bob, alice_too = (discharger.person() for _ in range(3))
    page = alice.log_in(pending)
    for other, name in ((bob, "bob"), (alice_too, "alice")):
        elsewhere = discharger.begin()
        assert other.log_in(elsewhere, name).status == 200
        for answer in ("allow", "refuse"):
            refused = other.answer(page, answer)
            assert refused.status == 403
            assert refused.text == (
                "Refused Refused This page was not opened by this session. Nothing has been answered. See who asks"
            )
    assert discharger.is_open(pending)
    theirs = bob.see(pending.visit_url)
    refused = bob.answer(page)  # bob's session has opened the visit, but this is alice's form
    assert refused.status == 403
    assert bob.answer(theirs).status == 200
    assert discharger.caveats(discharger.finish(pending))[-1] == "declared username bob"
    late = alice.answer(page)
    text = "Nobody waits for this any more: it was answered elsewhere, or begun again too often."
    assert (late.status, late.text) == (410, f"Too late Too late {text}")


@pytest.mark.parametrize("form", ["", "x", "A" * 22, "ä", "\x00"])
def test_consent_needs_the_forms_secret(discharger: Discharger, form: str) -> None:
    """Without it, with a guess, with the one for logging out or the session's own id: refused, and nothing spent."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    for guess in (form, page.forms["logout"]["form"], person.session or "", page.forms["visit"]["form"] + "A"):
        refused = person.post("visit", {"visit": pending.visit, "form": guess, "answer": "allow"})
        assert refused.status == 403
        assert "not opened by this session" in refused.text
    assert discharger.is_open(pending)
    assert person.answer(page).status == 200


@pytest.mark.parametrize(
    "guess",
    [
        lambda _: "A" * 22,
        lambda pending: pending.visit[:-1],
        lambda pending: pending.visit + "A",
        lambda pending: pending.visit.swapcase(),
        lambda _: "",
        lambda pending: pending.wait_url.rpartition("=")[2],
        lambda _: "%C3%A4%00",
    ],
)
def test_a_guessed_visit_is_nobodys(discharger: Discharger, guess: Callable[[Pending], str]) -> None:
    """Logged in or not; the wait's secret opens no visit, and nothing that was guessed is repeated."""
    pending = discharger.begin()
    person = discharger.person()
    for _ in range(2):
        page = person.see(f"{discharger.location}/visit?id={guess(pending)}")
        assert (page.status, page.forms) == (404, {})
        assert page.text.startswith("Nothing to decide")
        assert not guess(pending) or guess(pending) not in page.response.text
        person.log_in(pending) if person.session is None else None
    assert person.session is not None
    assert person.see(pending.visit_url).status == 200


@pytest.mark.parametrize(
    "guess",
    [
        lambda _: "A" * 22,
        lambda pending: pending.visit,
        lambda pending: pending.wait_url.rpartition("=")[2][:-1],
        lambda _: "",
    ],
)
def test_a_guessed_wait_brings_nothing(discharger: Discharger, guess: Callable[[Pending], str]) -> None:
    """Whoever knows the visit has not what it brings; the right one brings it all the same."""
    pending = discharger.begin()
    person = discharger.person()
    person.answer(person.log_in(pending))
    wrong = httpx.get(f"{discharger.location}/wait?wait={guess(pending)}")
    assert wrong.status_code in {400, 404}
    assert "token" not in wrong.text
    assert discharger.finish(pending).status_code == 200


def test_a_token_is_for_its_caveat(discharger: Discharger) -> None:
    """What one caveat's consent was worth discharges no other, not even of the same condition."""
    pending = discharger.begin()
    person = discharger.person()
    person.answer(person.log_in(pending))
    token = {"token64": discharger.wait(pending).json()["token64"], "token-kind": "browser-window"}
    assert code(discharger.ask(discharger.caveat(), **token)) == (401, "permission denied")
    assert discharger.ask(pending.caveat, **token).status_code == 200


def test_a_session_that_ended_gets_no_discharge(discharger: Discharger) -> None:
    """Even for what it consented to: end it, and no new discharge comes."""
    pending = discharger.begin()
    person = discharger.person()
    page = person.log_in(pending)
    person.answer(page)
    person.post("logout", page.forms["logout"])
    answer = discharger.finish(pending)
    assert code(answer) == (401, "permission denied")
    assert "begin again" in answer.json()["Message"]


def test_a_user_who_was_removed_gets_no_discharge(discharger: Discharger) -> None:
    """Nor one whose password is another now, for what was consented to before."""
    for change in (lambda: discharger.users.lines.pop("alice"), lambda: _new_password(discharger)):
        pending = discharger.begin()
        person = discharger.person()
        person.answer(person.log_in(pending))
        kept = dict(discharger.users.lines)
        change()
        discharger.users.write()
        assert code(discharger.finish(pending)) == (401, "permission denied")
        discharger.users.lines = kept
        discharger.users.write()


def _new_password(discharger: Discharger) -> None:
    lines = discharger.users.lines
    lines["alice"] = lines["bob"]


def test_without_a_users_file_there_is_no_discharge(discharger: Discharger) -> None:
    """What was consented to fails closed, and pages say that it does not work now; then all is as before."""
    first, second = discharger.begin(), discharger.begin()
    person = discharger.person()
    person.answer(person.log_in(first))
    page = person.see(second.visit_url)
    discharger.users.write("alice\n")
    assert code(discharger.finish(first)) == (401, "permission denied")
    text = "Not now Not now This service cannot read who its users are. Try again later."
    for done in (person.answer(page), person.see(second.visit_url)):
        assert (done.status, done.text) == (503, text)
    assert discharger.is_open(second)
    discharger.users.write()
    assert person.answer(page).status == 200
    assert discharger.finish(second).status_code == 200


@pytest.mark.parametrize(
    "condition", ["is-authenticated-user ", "is-authenticated-user @example", "Is-Authenticated-User", "true"]
)
def test_the_checker_answers_one_condition(discharger: Discharger, condition: str) -> None:
    """Any other is refused before anybody is asked."""
    answer = discharger.ask(discharger.caveat(condition))
    assert code(answer) == (401, "permission denied")
    assert answer.json()["Message"] == "this service answers is-authenticated-user alone"
    assert discharger.begin(discharger.caveat("is-authenticated-user"))


def test_mounted_below_a_prefix_every_address_has_it(start: Start) -> None:
    """What the pages, their forms, the redirect and the program's addresses name is below the location."""
    discharger = start(prefix="/third/party")
    pending = discharger.begin()
    assert pending.visit_url.startswith(f"{discharger.location}/visit?id=")
    person = discharger.person()
    shown: list[Page] = [person.see(pending.visit_url), person.log_in(pending)]
    assert shown[1].forms.keys() == {"visit", "logout"}
    shown.append(person.answer(shown[1]))
    for page in shown:
        assert page.status == 200
        addresses = re.findall(r'(?:href|action|src)="([^"]*)"', page.response.text)
        assert addresses
        assert all(address.startswith(f"{discharger.location}/") for address in addresses)
    assert person.http.get(f"{discharger.location}/style.css").status_code == 200
    assert discharger.finish(pending).status_code == 200


def test_visits_are_forgotten_with_their_discharger(start: Start) -> None:
    """Nothing is on the disk: another process with the same key and users knows neither visits nor sessions."""
    before, after = start(), start()
    pending = before.begin()
    person = before.person()
    page = person.log_in(pending)
    person.discharger = after
    moved = person.see(f"{after.location}/visit?id={pending.visit}")
    assert (moved.status, moved.forms) == (404, {})
    refused = person.answer(page)
    assert (refused.status, "not logged in" in refused.text) == (403, True)
    assert after.is_open(pending) is False
    assert before.is_open(pending) is True


PEOPLE_ALONE = Refused("this service answers people alone, who log in with a browser")


@pytest.mark.parametrize(
    ("user", "login", "answer"),
    [
        (None, None, Interaction()),
        ("alice", "browser-window", Declared({"username": "alice"})),
        ("robot", "browser-window", Refused("that user is no longer one")),
        ("alice", "agent", PEOPLE_ALONE),
        ("robot", "agent", PEOPLE_ALONE),
    ],
)
def test_whoever_says_who_it_is_the_users_file_has_to_have_him(
    discharger: Discharger, user: str | None, login: str | None, answer: Answer
) -> None:
    """Another login may prove another name: the checker states it of nobody who is no user, and of no agent."""
    request = Request({"type": "http", "state": {"user": user, "login": login}})
    check = session_checker(Users(discharger.users.path))
    assert asyncio.run(check("is-authenticated-user", request)) == answer  # type: ignore[arg-type]


def test_an_agent_with_a_user_s_name_is_not_that_user(start: Start) -> None:
    """Where both can log in: whoever may name agents does not name people, and has no session."""
    robot = KeyPair.generate()
    discharger = start(more_logins=[AgentLogin({"alice": [key_text(robot.public)]})])
    caveat = discharger.caveat()
    ways = discharger.ask(caveat).json()["Info"]["InteractionMethods"]
    given = httpx.get(ways["agent"]["login-url"], params={"username": "alice", "public-key": key_text(robot.public)})
    proof, _ = Agents(robot).answer(read_login(Reply(200, "application/json", given.content), discharger.location))
    token = {"token64": base64.b64encode(proof.value).decode(), "token-kind": "agent"}
    answer = discharger.ask(caveat, None, **token)
    assert code(answer) == (401, "permission denied")
    assert answer.json()["Message"] == PEOPLE_ALONE.reason
    pending = discharger.begin(caveat)
    person = discharger.person()
    person.answer(person.log_in(pending))
    assert discharger.caveats(discharger.finish(pending))[-1] == "declared username alice"
