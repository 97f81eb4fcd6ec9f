"""Every command against a real service, in a process of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .conftest import Ask, Live, Run


def _id(ask: Ask, token: str) -> str:
    identifier: str = json.loads(ask("inspect", "--json", stdin=token).done())["id"]
    return identifier


def _mint(ask: Ask, *arguments: str) -> str:
    return ask("mint", "--ttl", "1h", *arguments).done()


def test_the_whole_story_through_processes(process: Run, live: Live) -> None:
    """Mint, narrow, verify, revoke, list, as a shell would run them, through real processes."""
    env = live.env
    token = process("mint", "--ttl", "1h", "--subject", "story", "--caveat", "floor in 1,2", env=env).done()
    assert re.fullmatch(r"[A-Za-z0-9_-]+\n", token)
    narrowed = process("attenuate", "--caveat", "floor = 1", stdin=token, env=env).done()
    assert process("verify", "--context", "floor=1", stdin=narrowed, env=env).done().startswith("allowed\n")
    denied = process("verify", "--context", "floor=2", stdin=narrowed, env=env)
    assert (denied.code, denied.out, denied.err) == (1, "denied: caveat-refused\ncaveat: floor = 1\n", "")
    revoked = process("revoke", stdin=narrowed, env=env).done()
    assert revoked.startswith("kind: branch\naudience: default\nat: 20")
    denied = process("verify", "--context", "floor=1", stdin=narrowed, env=env)
    assert (denied.code, denied.out, denied.err) == (1, "denied: revoked\n", "")
    assert process("verify", "--context", "floor=2", stdin=token, env=env).done().startswith("allowed\n")
    rows = process("tokens", "list", "--subject", "story", env=env).done().splitlines()
    assert [row.split("\t")[1:4] for row in rows] == [["live", "default", "story"]]
    assert process("keys", "list", env=env).done()
    assert process("audiences", "list", env=env).done().startswith("default\t2592000\t")


def test_mint(ask: Ask) -> None:
    """What the options say is in the token, and in the JSON object that HTTP gives."""
    out = ask(
        "mint", "--ttl", "15m", "--subject", "alice", "--fact", "tenant=acme", "--caveat", "action in read",
        "--caveat", "floor = 1", "--label", "caf\u00e9", "--json",
    ).done()  # fmt: skip
    value = json.loads(out)
    assert list(value) == [
        "token", "id", "audience", "subject", "facts", "label", "issued_at", "expires_at", "caveats",
    ]  # fmt: skip
    assert value["caveats"][1:] == ["sub = alice", "tenant = acme", "action in read", "floor = 1"]
    assert (value["audience"], value["subject"], value["facts"]) == ("default", "alice", {"tenant": "acme"})
    assert value["label"] == "caf\u00e9"
    assert out.isascii()
    shown = ask("tokens", "show", value["id"]).done()
    assert "label: caf\\xc3\\xa9\n" in shown
    assert "minted_by.id: " in shown
    row = json.loads(ask("tokens", "show", value["id"], "--json").done())
    assert row == {
        **{name: item for name, item in value.items() if name != "token"},
        "state": "live",
        "minted_by": row["minted_by"],
    }


def test_verify_writes_http_s_fields_in_order(ask: Ask) -> None:
    """`name: value` lines in HTTP's order, nulls left out, one line a caveat, facts under their names."""
    token = _mint(ask, "--subject", "alice", "--fact", "tenant=acme", "--caveat", "floor in 1,2")
    lines = ask("verify", "--context", "floor=1", stdin=token).done().splitlines()
    assert lines[0] == "allowed"
    assert [line.partition(": ")[0] for line in lines[1:]] == [
        "id", "audience", "subject", "issued_at", "expires_at", "facts.tenant", "caveats", "caveats", "caveats",
        "caveats",
    ]  # fmt: skip
    assert lines[3:4] + lines[6:7] + lines[-3:] == [
        "subject: alice", "facts.tenant: acme", "caveats: sub = alice", "caveats: tenant = acme",
        "caveats: floor in 1,2",
    ]  # fmt: skip
    assert "subject" not in ask("verify", stdin=_mint(ask)).done()


def test_verify_explains(ask: Ask) -> None:
    """--explain adds the verdict on every caveat, allowed or denied."""
    token = ask("attenuate", "--caveat", "floor = 1", stdin=_mint(ask, "--caveat", "action in read")).done()
    allowed = ask("verify", "--explain", "--context", "floor=1", "--context", "action=read", stdin=token).done()
    assert allowed.splitlines()[-2:] == [
        "verdicts: issuer satisfied action in read",
        "verdicts: holder satisfied floor = 1",
    ]
    denied = ask("verify", "--explain", "--context", "floor=2", "--context", "action=read", stdin=token)
    assert denied.code == 1
    assert denied.out.splitlines()[:2] == ["denied: caveat-refused", "caveat: floor = 1"]
    assert denied.out.splitlines()[-1] == "verdicts: holder caveat-refused floor = 1"


def test_verify_as_json(ask: Ask) -> None:
    """--json is HTTP's object, of a denial too, which still exits 1."""
    token = _mint(ask, "--caveat", "floor = 1")
    allowed = json.loads(ask("verify", "--context", "floor=1", "--json", stdin=token).done())
    assert list(allowed) == [
        "allowed", "id", "audience", "subject", "issued_at", "expires_at", "facts", "declared", "caveats",
    ]  # fmt: skip
    assert (allowed["allowed"], allowed["subject"], allowed["declared"]) == (True, None, {})
    denied = ask("verify", "--context", "floor=2", "--json", stdin=token)
    assert (denied.code, denied.err) == (1, "")
    assert list(json.loads(denied.out)) == ["allowed", "code", "message", "caveat"]


@pytest.mark.parametrize(
    ("context", "code"),
    [
        (["floor=1"], None),
        (["floor=2"], "caveat-refused"),
        (["floor=one"], "context-invalid"),
        (["floor=01"], "context-invalid"),
        (["floor=-0"], "context-invalid"),
        (["floor=1.0"], "context-invalid"),
        (["floor="], "context-invalid"),
        (["floor=" + "9" * 40], "context-invalid"),
        (["room=1"], "context-missing"),
        ([], "context-missing"),
        (["floor=1", "nosuch=1"], "context-invalid"),
        (["floor=1", "sub=alice"], "context-invalid"),
        (["floor=1", "time=1"], "context-invalid"),
        (["floor=1", "path=/a/../b"], "context-invalid"),
        (["floor=1", "path=/a=b"], None),
        (["floor=1", "plan=gold"], "context-invalid"),
        (["floor=1", "plan=team", "room=-7", "ip=::ffff:10.0.0.1", "host=example.org"], None),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value or ["nothing"])[:30],
)
def test_context_is_typed_by_the_service(ask: Ask, context: list[str], code: str | None) -> None:
    """Values are sent as the attribute's declared type; what is none is the service's to refuse: exit 1."""
    options = [part for pair in context for part in ("--context", pair)]
    outcome = ask("verify", *options, stdin=_mint(ask, "--caveat", "floor = 1"))
    if code is None:
        assert outcome.done().startswith("allowed\n")
    else:
        assert (outcome.code, outcome.out.splitlines()[0]) == (1, f"denied: {code}")
        assert outcome.err.startswith("capsvc: context-invalid: ") == (code == "context-invalid")


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("floor=x", "'floor': it is given as a whole number."),
        ("colour=red", "'colour': no such attribute is declared."),
        ("sub=alice", "'sub': the service supplies it, never a request."),
        (
            "path=a",
            "'path': a path begins with / and holds RFC 3986's path characters and upper-case %XX escapes alone.",
        ),
        ("n" * 41 + "=x", "(a name of another kind): no such attribute is declared."),
    ],
)
def test_verify_says_which_value_is_at_fault(ask: Ask, pair: str, why: str) -> None:
    """In text on standard error, so that standard output has its two lines alone; in JSON in the message."""
    token = _mint(ask, "--caveat", "floor = 1")
    message = f"The request's context is not well formed. {why}"
    told = ask("verify", "--context", pair, stdin=token)
    assert (told.code, told.out) == (1, "denied: context-invalid\n")
    assert told.err == f"capsvc: context-invalid: {message}\n"
    told = ask("verify", "--context", pair, "--json", stdin=token)
    assert (told.code, json.loads(told.out)["message"], told.err) == (1, message, "")


@pytest.mark.parametrize(
    ("stdin", "code"),
    [("!", "malformed"), ("AgEE", "malformed"), ("A" * 16_385, "too-large"), ("{}", "malformed"), ("~", "malformed")],
)
def test_verify_of_what_is_no_token(ask: Ask, stdin: str, code: str) -> None:
    """The service's own word on what is no token: denied, exit 1."""
    outcome = ask("verify", stdin=stdin)
    assert (outcome.code, outcome.out, outcome.err) == (1, f"denied: {code}\n", "")


def test_verify_for_another_audience(ask: Ask) -> None:
    """A token of another audience is denied; an audience that there is not is refused."""
    assert ask("verify", "--audience", "capsvc", stdin=_mint(ask)).out == "denied: wrong-audience\n"
    ask("verify", "--audience", "nosuch", stdin=_mint(ask)).refused(1, "audience-unknown")


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["--ttl", "0"], 1, "ttl-invalid"),
        (["--ttl", "365d"], 1, "ttl-too-long"),
        (["--ttl", "999999999999d"], 1, "ttl-too-long"),
        (["--ttl", "-1"], 2, "usage"),
        (["--ttl", "1 h"], 2, "usage"),
        (["--ttl", "1H"], 2, "usage"),
        (["--ttl", "1h", "--audience", "nosuch"], 1, "audience-unknown"),
        (["--ttl", "1h", "--audience", "capsvc"], 1, "forbidden"),
        (["--ttl", "1h", "--audience", "no such"], 1, "bad-request"),
        (["--ttl", "1h", "--audience", ""], 1, "bad-request"),
        (["--ttl", "1h", "--subject", "a b"], 1, "caveat-malformed"),
        (["--ttl", "1h", "--subject", ""], 1, "caveat-malformed"),
        (["--ttl", "1h", "--fact", "tenant"], 2, "usage"),
        (["--ttl", "1h", "--fact", "=acme"], 2, "usage"),
        (["--ttl", "1h", "--fact", "tenant=a", "--fact", "tenant=a"], 2, "usage"),
        (["--ttl", "1h", "--fact", "tenant=a b"], 1, "caveat-malformed"),
        (["--ttl", "1h", "--fact", "nosuch=a"], 1, "caveat-unknown"),
        (["--ttl", "1h", "--fact", "floor=1"], 1, "caveat-unknown"),
        (["--ttl", "1h", "--fact", "sub=a"], 1, "bad-request"),
        (["--ttl", "1h", "--caveat", "floor == 1"], 1, "caveat-malformed"),
        (["--ttl", "1h", "--caveat", "nosuch = 1"], 1, "caveat-unknown"),
        (["--ttl", "1h", "--caveat", "tenant = acme"], 1, "fact-conflict"),
        (["--ttl", "1h", "--caveat", "x" * 70_000], 1, "too-large"),
        (["--ttl", "1h", "--third-party", "https://id.example.org=is-user"], 1, "discharger-unknown"),
        (["--ttl", "1h", "--third-party", "https://id.example.org=need-declared a,b is-user"], 1, "discharger-unknown"),
        (["--ttl", "1h", "--third-party", "https://id.example.org"], 2, "usage"),
        (["--ttl", "1h", "--third-party", "=is-user"], 2, "usage"),
        (["--ttl", "1h", "--label", "x" * 201], 1, "bad-request"),
        (["--ttl", "1h", "--label", "a\nb"], 1, "bad-request"),
        (["--ttl", "1h", "--label", "\udcff"], 1, "bad-request"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_mint_refuses(ask: Ask, arguments: list[str], code: int, kind: str) -> None:
    """Every option wrong in every way: exit 1 with the service's code, 2 where no request can be made of it."""
    ask("mint", *arguments).refused(code, kind)


def test_sixty_five_caveats(ask: Ask) -> None:
    """A token past section 3's bounds is not minted: `too-large`."""
    options = [part for number in range(64) for part in ("--caveat", f"floor < {number}")]
    ask("mint", "--ttl", "1h", *options).refused(1, "too-large")
    assert ask("mint", "--ttl", "1h", *options[2:]).done()


def test_revoke_by_options(ask: Ask, live: Live) -> None:
    """By id, by subject with and without an instant, by key; the answer is HTTP's object; a repetition is fine."""
    token = _mint(ask, "--subject", "gone")
    tid = _id(ask, token)
    first = json.loads(ask("revoke", "--id", tid, "--json").done())
    assert list(first) == ["kind", "audience", "at"]
    assert json.loads(ask("revoke", "--id", tid, "--json").done()) == first
    assert ask("verify", stdin=token).out == "denied: revoked\n"
    other = _mint(ask, "--subject", "gone")
    early = ["--audience", "default", "--subject", "gone", "--before", "2020-01-01T00:00:00Z"]
    assert "at: 2020-01-01T00:00:00Z" in ask("revoke", *early).done()
    assert ask("verify", stdin=other).code == 0
    assert ask("revoke", "--audience", "default", "--subject", "gone").done().startswith("kind: subject\n")
    assert ask("verify", stdin=other).out == "denied: revoked\n"


def test_revoke_a_file(ask: Ask) -> None:
    """A token in a file is revoked like one on standard input; its parent stays good."""
    token = _mint(ask)
    Path("narrow").write_text(ask("attenuate", "--caveat", "time < 2090-01-01T00:00:00Z", stdin=token).done())
    assert ask("revoke", "narrow").done().startswith("kind: branch\n")
    assert ask("verify", "narrow").out == "denied: revoked\n"
    assert ask("verify", stdin=token).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["--id", "nosuch"], 1, "not-found"),
        (["--id", "A" * 22], 1, "not-found"),
        (["--id", ""], 1, "not-found"),
        (["--key", "0" * 16], 1, "not-found"),
        (["--audience", "default"], 2, "usage"),
        (["--subject", "alice"], 2, "usage"),
        (["--before", "2026-01-01T00:00:00Z"], 2, "usage"),
        (["--id", "a", "--key", "b"], 2, "usage"),
        (["--id", "a", "--audience", "default"], 2, "usage"),
        (["--id", "a", "token"], 2, "usage"),
        (["--audience", "default", "--subject", "a", "--before", "yesterday"], 2, "usage"),
        (["--audience", "default", "--subject", "a", "--before", "2098-01-01T00:00:00Z"], 1, "bad-request"),
        (["--audience", "nosuch", "--subject", "a"], 1, "audience-unknown"),
        ([], 2, "usage"),
        (["nosuch"], 2, "usage"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_revoke_refuses(ask: Ask, arguments: list[str], code: int, kind: str) -> None:
    """What is not one way of naming what is revoked is exit 2, what does not exist exit 1."""
    ask("revoke", *arguments).refused(code, kind)


@pytest.mark.parametrize("stdin", ["!", "AgEE"])
def test_revoke_of_what_is_no_token(ask: Ask, stdin: str) -> None:
    """What the service cannot judge is refused with its code."""
    assert ask("revoke", stdin=stdin).code == 1


def test_audiences(ask: Ask) -> None:
    """Add, list, set; the same again is refused; durations as everywhere."""
    assert ask("audiences", "add", "photos", "--max-ttl", "1d").done().startswith("name: photos\nmax_ttl: 86400\n")
    ask("audiences", "add", "photos").refused(1, "exists")
    assert json.loads(ask("audiences", "set", "photos", "--max-ttl", "2h", "--json").done())["max_ttl"] == 7200
    listed = json.loads(ask("audiences", "list", "--json").done())
    assert {row["name"]: row["max_ttl"] for row in listed["audiences"]}["photos"] == 7200
    assert listed["next"] is None
    ask("mint", "--audience", "photos", "--ttl", "3h").refused(1, "ttl-too-long")
    ask("audiences", "set", "nosuch", "--max-ttl", "2h").refused(1, "not-found")
    ask("audiences", "set", "../keys", "--max-ttl", "2h").refused(1, "not-found")
    ask("audiences", "set", "..", "--max-ttl", "2h").refused(1, "not-found")
    ask("audiences", "add", "a b").refused(1, "bad-request")
    ask("audiences", "add", "x", "--max-ttl", "0").refused(1, "ttl-invalid")
    ask("audiences", "add", "x", "--max-ttl", "4000d").refused(1, "ttl-too-long")
    ask("audiences", "add", "x", "--max-ttl", "soon").refused(2, "usage")


def test_keys(ask: Ask) -> None:
    """Rotate, list, revoke: with the audience or without; minting waits for a key."""
    ask("audiences", "add", "keyed").done()
    old = json.loads(ask("keys", "list", "--audience", "keyed", "--json").done())["keys"][0]["kid"]
    token = _mint(ask, "--audience", "keyed")
    new = json.loads(ask("keys", "rotate", "--audience", "keyed", "--json").done())
    assert list(new) == ["kid", "state", "created_at"]
    assert ask("verify", "--audience", "keyed", stdin=token).code == 0
    rows = [row.split("\t")[:2] for row in ask("keys", "list", "--audience", "keyed").done().splitlines()]
    assert sorted(rows) == sorted([[old, "retiring"], [new["kid"], "active"]])
    ask("keys", "revoke", old, "--audience", "default").refused(1, "not-found")
    assert ask("keys", "revoke", old).done().startswith("kind: key\naudience: keyed\n")
    assert ask("verify", "--audience", "keyed", stdin=token).out == "denied: revoked\n"
    assert ask("keys", "revoke", new["kid"], "--audience", "keyed").done() == ""
    ask("mint", "--ttl", "1h", "--audience", "keyed").refused(3, "unavailable")
    ask("keys", "rotate", "--audience", "keyed").done()
    assert _mint(ask, "--audience", "keyed")
    ask("keys", "list", "--audience", "nosuch").refused(1, "not-found")
    ask("keys", "rotate", "--audience", "nosuch").refused(1, "not-found")
    ask("keys", "revoke", "nosuch").refused(1, "not-found")


def test_tokens_show_refuses(ask: Ask) -> None:
    """An id that there is not, or is none, is `not-found`, and never another address of the service."""
    for odd in (
        "nosuch",
        "A" * 22,
        "..",
        ".",
        "../audiences",
        "a/b",
        "?limit=1",
        "#",
        "%2e%2e",
        " ",
        "\u00e9",
        "\udcff",
        "-",
    ):
        ask("tokens", "show", "--", odd).refused(1, "not-found")


def test_list_follows_pages(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is followed to its end, page after page, filters kept."""
    for _ in range(5):
        _mint(ask, "--subject", "pages")
    _mint(ask, "--subject", "other")
    whole = json.loads(ask("tokens", "list", "--subject", "pages", "--audience", "default", "--json").done())
    monkeypatch.setattr("capsvc.cli.connect.PAGE", 2)
    paged = json.loads(ask("tokens", "list", "--subject", "pages", "--audience", "default", "--json").done())
    assert paged == whole
    assert len(paged["tokens"]) == 5
    assert len(ask("tokens", "list", "--subject", "pages").done().splitlines()) == 5
    for odd in ("nosuch", "a&limit=0", "a#b", "\u00e9", ""):
        assert json.loads(ask("tokens", "list", "--audience", odd, "--json").done()) == {"tokens": [], "next": None}


def test_no_secret_in_lists(ask: Ask) -> None:
    """What is listed and shown holds no token."""
    token = _mint(ask).strip()
    shown = ask("tokens", "list", "--json").done() + ask("tokens", "show", _id(ask, token)).done()
    assert token not in shown
    assert token[-43:] not in shown
