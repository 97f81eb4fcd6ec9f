"""inspect, attenuate, convert, check: no service, no key."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymacaroons import Macaroon

from capsvc.macaroon.bundle import split
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, encode
from capsvc.macaroon.formats import to_v1, to_v2json
from capsvc.token import Token

from .conftest import CONFIG, KID, TID, Root, Run

VID = bytes(72)


def _with_caveats(text: str, *caveats: RawCaveat, location: bytes | None = b"http://127.0.0.1:8700") -> str:
    """The token with octets for caveats that no library would write, under a signature that is none."""
    macaroon = split(text)[0]
    return encode(macaroon._replace(caveats=(*macaroon.caveats, *caveats), location=location))


def _macaroon(identifier: bytes, *caveats: RawCaveat, location: bytes | None = None) -> UnverifiedMacaroon:
    return UnverifiedMacaroon(location, identifier, caveats, bytes(32))


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(int(time.time()) + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_inspect_draws_the_chain(run: Run, root: Root) -> None:
    """The drawing says UNVERIFIED first, tells issuer from holders, says what caveats mean and how long is left."""
    token = root("sub = alice", "floor in 1,2", "clock < 17:00", f"time < {_instant(7260)}", issuer=2)
    lines = run("inspect", stdin=token).done().splitlines()
    assert lines[0].startswith("UNVERIFIED")
    assert lines[1] == f"token {TID}"
    text = "\n".join(lines)
    order = [
        "location http://127.0.0.1:8700", "issued ", f"key {KID}", "issuer's caveats", "time < 2098", "sub = alice",
        "floor in 1,2", "holders' caveats", "clock < 17:00", "time < ", "expires ",
    ]  # fmt: skip
    at = [text.index(part, text.index(order[0])) for part in order[:6]]
    assert at == sorted(at)
    assert "the issuer states: the token's subject is alice" in text
    assert "the request's floor must be 1 or 2" in text
    assert "the time of day (UTC) must be before 17:00" in text
    assert "1 minute 0 seconds ago" in text or "(1 minute" in text
    assert lines[-1].startswith("expires ")
    assert "2 hours" in lines[-1]
    assert "\x1b" not in text


def test_inspect_tells_facts_of_the_issuer_alone(run: Run, root: Root) -> None:
    """A holder who writes `sub = root` states nothing: it is shown as the restriction that it is."""
    text = run("inspect", stdin=root("sub = root", issuer=0)).done()
    assert "the issuer states" not in text
    assert "the token's subject must be root" in text


@pytest.mark.parametrize(
    ("caveat", "words"),
    [
        ("action in read,write", "the action must be read or write"),
        ("action = read", "the action must be read"),
        ("method in GET", "the request's method must be GET"),
        ("path under /a", "the request's path must be /a or below it"),
        ("path = /a/b", "the request's path must be /a/b"),
        ("host = example.org", "the host that is asked must be example.org"),
        ("ip in 10.0.0.0/8", "the caller's address must be in 10.0.0.0/8"),
        ("weekday in fri,mon", "the day of the week (UTC) must be fri or mon"),
        ("clock >= 09:00", "the time of day (UTC) must be 09:00 or later"),
        ("floor < 5", "the request's floor must be below 5"),
        ("floor <= 5", "the request's floor must be at most 5"),
        ("floor > 5", "the request's floor must be above 5"),
        ("floor >= 5", "the request's floor must be at least 5"),
        ("for.audience = photos", "what an administrator acts on: its audience must be photos"),
        ("for.ttl <= 60", "what an administrator mints: its seconds of life must be at most 60"),
        ("time < 2001-01-01T00:00:00Z", "EXPIRED"),
        ("time < 2099-01-01T00:00:00Z", "left"),
        ("time >= 2001-01-01T00:00:00Z", "valid since"),
        ("time >= 2099-01-01T00:00:00Z", "NOT YET VALID: begins in"),
        ("time-before 2099-01-01T00:00:00.5Z", "left"),
        ("nonsense", "refused: caveat-malformed"),
        ("allow x", "refused: caveat-malformed"),
        ("declared user alice", "refused: caveat-unknown"),
        ("error no", "refused: caveat-unknown"),
    ],
)
def test_inspect_says_what_a_caveat_means(run: Run, root: Root, caveat: str, words: str) -> None:
    """Every kind of caveat is told in words, and one that the service will refuse is called so."""
    text = run("inspect", stdin=root(caveat, issuer=0)).done()
    (line,) = [line for line in text.splitlines() if f"-- {caveat}  " in line or f"─ {caveat}  " in line]
    assert words in line


def test_inspect_as_json(run: Run, root: Root) -> None:
    """--json is the object that the contract names, no more in it."""
    token = root("action in read", "time < 2030-05-01T00:00:00Z", issuer=1)
    assert json.loads(run("inspect", "--json", stdin=token).done()) == {
        "location": "http://127.0.0.1:8700",
        "id": TID,
        "caveats": [
            {"text": "time < 2098-01-01T00:00:00Z", "location": None},
            {"text": "action in read", "location": None},
            {"text": "time < 2030-05-01T00:00:00Z", "location": None},
        ],
        "expires_at": "2030-05-01T00:00:00Z",
    }


@pytest.mark.parametrize("form", ["v1", "v2", "v2json"])
def test_inspect_reads_every_format(run: Run, root: Root, form: str) -> None:
    """The same token in the three formats is told alike, from standard input, `-` and a file."""
    token = root("action in read")
    converted = run("convert", "--to", form, stdin=token).done()
    assert converted.endswith("\n")
    Path("token").write_text(f"\n {converted}\n")
    expected = run("inspect", "--json", stdin=token).done()
    assert run("inspect", "--json", stdin=converted).done() == expected
    assert run("inspect", "--json", "-", stdin=converted).done() == expected
    assert run("inspect", "--json", "token").done() == expected
    assert run("convert", "--to", "v2", "token").done() == token + "\n"


def test_inspect_foreign_tokens(run: Run) -> None:
    """A macaroon from elsewhere has no issuer's caveats that one could tell, and perhaps no expiry."""
    foreign = Macaroon(location="http://bank/", identifier="we used our key", key="secret", version=2)
    foreign.add_first_party_caveat("account = 3735928559")
    text = run("inspect", stdin=foreign.serialize()).done()
    assert "foreign token we used our key" in text
    assert "issuer" not in text.replace("its issuer", "")
    assert "account = 3735928559" in text
    assert "no upper time bound" in text.splitlines()[-1]
    value = json.loads(run("inspect", "--json", stdin=foreign.serialize()).done())
    assert (value["id"], value["expires_at"]) == ("we used our key", None)


def test_inspect_bundles(run: Run, root: Root) -> None:
    """A bundle shows under each third-party caveat what answers it, nested ones too, and what answers nothing."""
    third = RawCaveat(b"\x03\x00first", VID, b"https://id.example.org")
    token = _with_caveats(root(), third, RawCaveat(b"second", VID, None))
    nested = RawCaveat(b"\x03\x00nested", VID, b"https://nested.example.org")
    bundle = "~".join(
        [
            token,
            encode(_macaroon(b"\x03\x00nested", RawCaveat(f"time-before {_instant(90)}".encode()))),
            encode(_macaroon(b"\x03\x00first", RawCaveat(b"declared username bob"), nested, location=b"https://d")),
            encode(_macaroon(b"stray", RawCaveat(b"declared x "))),
        ]
    )
    text = run("inspect", stdin=bundle).done()
    parts = [
        "third party https://id.example.org", "discharge", "location https://d", "states that username is bob",
        "third party https://nested.example.org", "discharge", "time-before", "(a third party without a location)",
        "no discharge here", "discharge that answers no caveat here", "x is nothing", "1 minute",
    ]  # fmt: skip
    at = 0
    for part in parts:
        at = text.index(part, at)
    value = json.loads(run("inspect", "--json", stdin=bundle).done())
    assert value["caveats"][1:] == [
        {"text": "\\x03\\x00first", "location": "https://id.example.org"},
        {"text": "second", "location": ""},
    ]
    assert [discharge["id"] for discharge in value["discharges"]] == ["\\x03\\x00first", "\\x03\\x00nested", "stray"]
    assert value["expires_at"] == value["discharges"][1]["expires_at"] < "2098"


@pytest.mark.parametrize(
    ("cid", "words"),
    [
        (b"\x03" + bytes(100), "a secret condition, sealed for it (bakery version 3)"),
        (b"\x02" + bytes(100), "a secret condition, sealed for it (bakery version 2, which capsvc refuses)"),
        (b"eyJU" + b"a" * 100, "a secret condition, sealed for it (bakery version 1, which capsvc refuses)"),
        (b"\x03\x00", "what the caveat's id stands for there"),
        (b"\x04" + bytes(100), "what the caveat's id stands for there"),
        (b"is-user alice", "what the caveat's id stands for there"),
        (b"\x1b[31m" + bytes(100), "what the caveat's id stands for there"),
    ],
)
def test_inspect_tells_what_a_third_party_is_asked(run: Run, root: Root, cid: bytes, words: str) -> None:
    """The condition itself is nobody's to read; which format hides it can be told by how the id begins."""
    text = run("inspect", stdin=_with_caveats(root(), RawCaveat(cid, VID, b"https://id.example.org"))).done()
    (line,) = [line for line in text.splitlines() if "third party" in line]
    assert line.endswith(f"third party https://id.example.org  must confirm {words}")


def test_inspect_tells_what_is_missing(run: Run, root: Root) -> None:
    """How many discharges, of which third parties, and what to do, for a token and for a bundle."""
    thirds = [RawCaveat(name, VID, b"https://%s.example.org" % name) for name in (b"a", b"b")]
    token = _with_caveats(root(), *thirds, RawCaveat(b"c", VID, b"https://a.example.org"))
    places = "(https://a.example.org, https://b.example.org)"
    lines = run("inspect", stdin=token).done().splitlines()
    assert lines[-2] == f"3 discharges are missing {places}: run 'capsvc discharge' on it"
    bundle = "~".join([token, *(encode(_macaroon(name)) for name in (b"a", b"c"))])
    lines = run("inspect", stdin=bundle).done().splitlines()
    assert lines[-2] == (
        "1 discharge is missing (https://b.example.org): run 'capsvc discharge' on the token that this bundle was made"
        " from, for a bundle is final"
    )
    nested = encode(_macaroon(b"b", RawCaveat(b"d", VID, None)))
    assert "1 discharge is missing (no location)" in run("inspect", stdin=f"{bundle}~{nested}").done()
    whole = run("inspect", stdin=f"{bundle}~{nested}~{encode(_macaroon(b'd'))}").done()
    assert "missing" not in whole
    assert whole.splitlines()[-1].startswith("expires ")


def test_inspect_of_discharges_in_a_circle(run: Run, root: Root) -> None:
    """Discharges that answer one another, or themselves, end; each is shown once."""
    token = _with_caveats(root(), RawCaveat(b"a", VID, b"https://a"))
    ring = [
        encode(_macaroon(name, RawCaveat(other, VID, b"https://r"))) for name, other in ((b"a", b"b"), (b"b", b"a"))
    ]
    value = json.loads(run("inspect", "--json", stdin="~".join([token, *ring])).done())
    assert [discharge["id"] for discharge in value["discharges"]] == ["a", "b"]
    own = encode(_macaroon(b"c", RawCaveat(b"c", VID, b"https://c")))
    assert "answers no caveat here" in run("inspect", stdin=f"{token}~{own}").done()


def test_inspect_of_a_lying_identifier(run: Run, root: Root) -> None:
    """An identifier that counts more issuer caveats than there are is said to be refused."""
    text = run("inspect", stdin=root(issuer=5)).done()
    assert "this token is refused" in text
    assert "this token is refused" not in run("inspect", stdin=root(issuer=0)).done()


HOSTILE = b"\x1b]0;owned\x07\x1b[2J\r\nallowed\n\x7f\x80\xff\xe2\x80\xaebidi [red]x[/red] :smile:"


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("place", ["caveat", "location", "identifier", "third party", "discharge"])
def test_inspect_escapes(run: Run, root: Root, place: str, options: list[str]) -> None:
    """Octets of a token never act on the terminal, wherever they stand, nor does markup of ours."""
    third = RawCaveat(HOSTILE, VID, HOSTILE)
    plain = RawCaveat(HOSTILE)
    tokens: dict[str, Callable[[], str]] = {
        "caveat": lambda: _with_caveats(root(), plain),
        "location": lambda: _with_caveats(root(), location=HOSTILE),
        "identifier": lambda: encode(_macaroon(HOSTILE)),
        "third party": lambda: _with_caveats(root(), third),
        "discharge": lambda: _with_caveats(root(), third) + "~" + encode(_macaroon(HOSTILE, plain, location=HOSTILE)),
    }
    out = run("inspect", *options, stdin=tokens[place]()).done()
    assert all(character == "\n" or character.isprintable() for character in out)
    assert not any(line.startswith("allowed") for line in out.splitlines())
    shown = out.replace("\\\\", "\\")
    assert "\\x1b]0;owned\\x07" in shown
    assert "\\xe2\\x80\\xaebidi [red]x[/red] :smile:" in shown


BAD_TOKENS = [
    (b"!", "malformed"),
    (b"AgEE", "malformed"),
    (b"\x00\x01\x02", "malformed"),
    (b"\xff\xfe", "malformed"),
    ("AgÉE".encode(), "malformed"),
    (b"{", "malformed"),
    (b'{"v":2,"i":"x","s":"y"}', "malformed"),
    (b"a b", "malformed"),
    (b"~", "malformed"),
    (b"A" * 16_385, "too-large"),
    (b"A" * 32_769, "too-large"),
    (b"{" + b" " * 70_000 + b"}", "too-large"),
    (b"A" * 300_000, "too-large"),
    (b"~" * 17, "too-large"),
]


@pytest.mark.parametrize(("stdin", "code"), BAD_TOKENS, ids=lambda value: str(value[:12]))
@pytest.mark.parametrize("arguments", [["inspect"], ["attenuate", "--ttl", "5m"], ["convert", "--to", "v2json"]])
def test_bad_tokens(run: Run, arguments: list[str], stdin: bytes, code: str) -> None:
    """What is no token: exit 1, the code, nothing on standard output, nothing of it repeated."""
    line = run(*arguments, stdin=stdin).refused(1, code)
    assert "AAAA" not in line


@pytest.mark.parametrize("arguments", [["inspect"], ["attenuate", "--ttl", "5m"], ["convert", "--to", "v2json"]])
def test_no_token(run: Run, arguments: list[str]) -> None:
    """Nothing, or white space alone, from standard input or a file, or no file: exit 2."""
    Path("empty").write_bytes(b" \n\t ")
    assert "standard input" in run(*arguments).refused(2, "usage")
    run(*arguments, stdin=b" \n ").refused(2, "usage")
    assert "empty" in run(*arguments, "empty").refused(2, "usage")
    assert "No such file" in run(*arguments, "nosuch").refused(2, "usage")
    assert "directory" in run(*arguments, ".").refused(2, "usage")
    run(*arguments, "").refused(2, "usage")
    assert "\\x1b" in run(*arguments, "a\x1b[31m").refused(2, "usage")


def test_endless_input(run: Run) -> None:
    """Input without end is given up at the bound."""
    run("inspect", "/dev/zero").refused(1, "too-large")


def test_attenuate(run: Run, root: Root) -> None:
    """What comes out has the caveats after those that were there, every earlier octet as it was."""
    token = root("floor in 1,2")
    before = int(time.time())
    out = run("attenuate", "--caveat", "floor = 1", "--caveat", "clock < 17:00", "--ttl", "15m", stdin=token).done()
    narrowed = Token.parse(out.strip())
    assert out == f"{narrowed}\n"
    *kept, first, second, bound = narrowed.caveats
    assert kept == list(Token.parse(token).caveats)
    assert (first, second) == ("floor = 1", "clock < 17:00")
    assert narrowed.expires_at is not None
    assert 900 <= narrowed.expires_at.timestamp() - before <= 960
    assert bound.startswith("time < ")
    assert (
        str(Token.parse(token).attenuate("floor = 1")) + "\n"
        == run("attenuate", "--caveat", "floor = 1", stdin=token).done()
    )


@pytest.mark.parametrize("writer", [to_v1, to_v2json])
def test_attenuate_writes_v2(run: Run, root: Root, writer: Callable[[UnverifiedMacaroon], str]) -> None:
    """Whatever format was read, V2 is written: what the service reads."""
    token = root()
    read = writer(split(token)[0])
    expected = run("attenuate", "--caveat", "floor = 1", stdin=token).done()
    assert run("attenuate", "--caveat", "floor = 1", stdin=read).done() == expected


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["--ttl", "0"], 2, "usage"),
        (["--ttl", "-5"], 2, "usage"),
        (["--ttl", "1w"], 2, "usage"),
        (["--ttl", "1.5h"], 2, "usage"),
        (["--ttl", "1h30m"], 2, "usage"),
        (["--ttl", ""], 2, "usage"),
        (["--ttl", " 1h"], 2, "usage"),
        (["--ttl", "\u0661h"], 2, "usage"),
        (["--ttl", "9" * 12 + "d"], 1, "caveat-malformed"),
        (["--ttl", "9" * 30], 2, "usage"),
        (["--caveat", ""], 1, "caveat-malformed"),
        (["--caveat", "floor == 1"], 1, "caveat-malformed"),
        (["--caveat", "floor = 1 "], 1, "caveat-malformed"),
        (["--caveat", "floor = 1\n"], 1, "caveat-malformed"),
        (["--caveat", "time < 2026-02-30T00:00:00Z"], 1, "caveat-malformed"),
        (["--caveat", "a = " + "1" * 600], 1, "caveat-malformed"),
        (["--caveat", "declared x y"], 1, "caveat-unknown"),
        (["--caveat", "error x"], 1, "caveat-unknown"),
        (["--caveat", "floor = 1", "--caveat", "Floor = 1"], 1, "caveat-malformed"),
        (["--caveat", "floor = 1", "--config", "nosuch.toml"], 2, "settings"),
        (["--caveat", "floor = 1", "--config", "broken.toml"], 2, "settings"),
        (["--caveat", "floor = one", "--config", "capsvc.toml"], 1, "caveat-malformed"),
        (["--caveat", "flor = 1", "--config", "capsvc.toml"], 1, "caveat-unknown"),
        (["--caveat", "plan = gold", "--config", "capsvc.toml"], 1, "caveat-malformed"),
    ],
)
def test_attenuate_refuses(run: Run, root: Root, arguments: list[str], code: int, kind: str) -> None:
    """Every option wrong in every way: the exit code, one line, no token out."""
    Path("capsvc.toml").write_text(CONFIG)
    Path("broken.toml").write_text("[attributes\n")
    run("attenuate", *arguments, stdin=root()).refused(code, kind)


def test_attenuate_with_a_configuration(run: Run, root: Root) -> None:
    """With a configuration its names are checked in full; without one unknown names pass if they fit the grammar."""
    Path("capsvc.toml").write_text(CONFIG)
    for caveat in ("floor in 1,2", "plan = team", "for.tenant = acme", "action in read"):
        assert run("attenuate", "--caveat", caveat, "--config", "capsvc.toml", stdin=root()).done()
    assert run("attenuate", "--caveat", "flor = 1", stdin=root()).done()


def test_a_bundle_is_final(run: Run, root: Root) -> None:
    """A bundle can neither be narrowed nor converted: exit 1, `bound`; its root can."""
    bundle = f"{root()}~{root()}"
    run("attenuate", "--ttl", "5m", stdin=bundle).refused(1, "bound")
    for form in ("v1", "v2", "v2json"):
        run("convert", "--to", form, stdin=bundle).refused(1, "bound")
        run("convert", "--to", form, stdin=root()).done()


def test_attenuate_past_the_bounds(run: Run, root: Root) -> None:
    """A 65th caveat, or text past 16 KiB, is refused: `too-large`."""
    token = root(*(f"floor < {number}" for number in range(62)))
    narrowed = run("attenuate", "--caveat", "floor < 99", stdin=token).done()
    run("attenuate", "--caveat", "floor < 100", stdin=narrowed).refused(1, "too-large")


@pytest.mark.parametrize(
    ("caveat", "options", "words"),
    [
        ("floor = 1", [], "the request's floor must be 1"),
        ("floor = 1", ["--config", "capsvc.toml"], "the request's floor must be 1"),
        ("action in read,write", [], "the action must be read or write"),
        ("time < 2001-01-01T00:00:00Z", [], "EXPIRED"),
    ],
)
def test_check_accepts(run: Run, caveat: str, options: list[str], words: str) -> None:
    """A right caveat is told in words."""
    Path("capsvc.toml").write_text(CONFIG)
    assert words in run("check", caveat, *options).done()


@pytest.mark.parametrize(
    ("caveat", "options", "code", "place"),
    [
        ("floor == 1", [], "caveat-malformed", "(at octet 6)"),
        ("", [], "caveat-malformed", "(at octet 0)"),
        ("flor = 1", ["--config", "capsvc.toml"], "caveat-unknown", "(at octet 0)"),
        ("floor = one", ["--config", "capsvc.toml"], "caveat-malformed", "(at octet 8)"),
        ("action in write,read", [], "caveat-malformed", ""),
        ("caf\u00e9 = 1", [], "caveat-malformed", ""),
    ],
)
def test_check_refuses(run: Run, caveat: str, options: list[str], code: str, place: str) -> None:
    """A wrong one: exit 1, its code, what would be right and where it goes wrong."""
    Path("capsvc.toml").write_text(CONFIG)
    assert place in run("check", caveat, *options).refused(1, code)
