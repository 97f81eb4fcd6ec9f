"""Third parties from a shell: listed, changed, removed; asked at minting; their bundles exchanged."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest

from capsvc.macaroon.decode import decode
from capsvc.macaroon.thirdparty import KeyPair, key_text

from ..http.conftest import Party  # noqa: TID252 - one third party for both
from .conftest import Ask, Live

Register = Callable[[], Party]
_NUMBERS = itertools.count()


def fresh_key() -> str:
    """A public key of nobody else."""
    return key_text(KeyPair.generate().public)


@pytest.fixture
def register(ask: Ask, serve_octets: Callable[[bytes], str]) -> Register:
    """Registers third parties at the live service, each at an address that serves its key."""

    def register() -> Party:
        party = Party(f"party{next(_NUMBERS)}")
        info = json.dumps({"PublicKey": party.public_key, "Version": 3}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(info)
        # A port that is free again may be another's: the path tells them apart.
        url = serve_octets(head + b"connection: close\r\n\r\n" + info)
        party.location = f"{url}/{party.name}"
        ask("dischargers", "add", party.location, "--name", party.name, "--public-key", party.public_key).done()
        return party

    return register


def _keys(ask: Ask, name: str) -> tuple[str, str]:
    """A discharger's keys, as its row says."""
    rows = [row.split("\t") for row in ask("dischargers", "list").done().splitlines()]
    ((public_key, next_public_key),) = [(row[2], row[3]) for row in rows if row[0] == name]
    return public_key, next_public_key


def test_list(ask: Ask, register: Register) -> None:
    """A line a discharger, with tabs; with --json HTTP's object."""
    party = register()
    rows = ask("dischargers", "list").done().splitlines()
    assert rows[-1] == f"{party.name}\t{party.location}\t{party.public_key}\t"
    value = json.loads(ask("dischargers", "list", "--json").done())
    assert (list(value), value["next"]) == (["dischargers", "next"], None)
    assert value["dischargers"][-1] == {
        **party.body, "next_public_key": None, "created_at": value["dischargers"][-1]["created_at"],
    }  # fmt: skip


def test_set(ask: Ask, register: Register) -> None:
    """Each key by itself and both at once; the next one goes by its own option or by an empty one."""
    party = register()
    first, second, third = party.public_key, fresh_key(), fresh_key()

    def change(*options: str) -> tuple[str, str]:
        out = ask("dischargers", "set", party.name, *options).done()
        assert out.startswith(f"name: {party.name}\nlocation: {party.location}\n")
        return _keys(ask, party.name)

    assert change("--next-public-key", second) == (first, second)
    assert change("--public-key", second, "--next-public-key", first) == (second, first)
    assert change("--clear-next") == (second, "")
    assert change("--next-public-key", third) == (second, third)
    assert change("--next-public-key", "") == (second, "")
    assert change("--public-key", third, "--clear-next") == (third, "")
    assert change("--public-key", first) == (first, "")
    value = json.loads(ask("dischargers", "set", party.name, "--clear-next", "--json").done())
    assert (value["public_key"], value["next_public_key"]) == (first, None)


def test_set_refused(ask: Ask, register: Register) -> None:
    """Nothing to change and two ways at once are usage errors; the service refuses what is taken or not there."""
    party, other = register(), register()
    words = ["dischargers", "set", party.name]
    assert "--clear-next" in ask(*words).refused(2, "usage")
    ask(*words, "--clear-next", "--next-public-key", fresh_key()).refused(2, "usage")
    ask(*words, "--public-key", "").refused(2, "usage")
    ask(*words, "--public-key", other.public_key).refused(1, "exists")
    ask(*words, "--next-public-key", party.public_key).refused(1, "exists")
    ask("dischargers", "set", "nobody", "--clear-next").refused(1, "not-found")
    ask("dischargers", "set", "../audiences/default", "--clear-next").refused(1, "not-found")
    assert _keys(ask, party.name) == (party.public_key, "")


def test_remove(ask: Ask, register: Register) -> None:
    """Gone without a word, once, and with it at once what depends on it."""
    party = register()
    token = ask("mint", "--ttl", "1h", "--third-party", f"{party.location}=is-known").done().strip()
    bundle = party.bundle(token)
    assert ask("verify", stdin=bundle).done().startswith("allowed\n")
    assert ask("dischargers", "remove", party.name).done() == ""
    ask("dischargers", "remove", party.name).refused(1, "not-found")
    denied = ask("verify", stdin=bundle)
    assert (denied.code, denied.out) == (1, f"denied: discharge-invalid\ncaveat: {party.location}\n")
    line = ask("mint", "--ttl", "1h", "--third-party", f"{party.location}=is-known").refused(1, "discharger-unknown")
    assert "capsvc dischargers add URL --name NAME" in line


def _asked(party: Party, token: str) -> list[str]:
    """The declarations that a token asks a third party for, as its discharge makes them."""
    return [caveat.cid.decode() for made in party.discharges(token) for caveat in made.caveats]


@pytest.mark.parametrize(
    ("condition", "declared"),
    [
        ("is-known", []),
        ("a = b = c", []),
        ("need-declared username is-known", ["declared username "]),
        ("need-declared username,group is known = 1", ["declared username ", "declared group "]),
    ],
)
def test_mint_for_a_third_party(ask: Ask, register: Register, condition: str, declared: list[str]) -> None:
    """The address ends at the first =; names to declare are told from the condition."""
    party = register()
    for location in (party.location, f"{party.location}/"):
        token = ask("mint", "--ttl", "1h", "--third-party", f"{location}={condition}").done().strip()
        (caveat,) = [caveat for caveat in decode(token).caveats if caveat.vid is not None]
        assert caveat.location == party.location.encode()
        assert _asked(party, token) == declared


@pytest.mark.parametrize(
    ("option", "exit_code", "code"),
    [
        ("https://id.example.org", 2, "usage"),
        ("=is-known", 2, "usage"),
        ("", 2, "usage"),
        ("https://id.example.org=is-known", 1, "discharger-unknown"),
        ("{}=", 1, "caveat-malformed"),
        ("{}=need-declared a", 1, "caveat-malformed"),
        ("{}=need-declared", 1, "caveat-malformed"),
        ("{}=need-declared a,a b", 1, "caveat-malformed"),
        ("{}=need-declared a, b", 1, "caveat-malformed"),
        ("{}=need-declared a need-declared b c", 1, "caveat-malformed"),
        ("{}=bell\x07", 1, "caveat-malformed"),
    ],
)
def test_third_parties_that_are_none(ask: Ask, register: Register, option: str, exit_code: int, code: str) -> None:
    """What is written in another way, is not registered, or cannot be asked."""
    given = option.format(register().location)
    ask("mint", "--ttl", "1h", "--third-party", given).refused(exit_code, code)


def test_the_whole_story(ask: Ask, register: Register) -> None:
    """Minted for two, told what is missing, discharged, verified with what was declared, exchanged, revoked."""
    login, till = register(), register()
    token = ask(
        "mint", "--ttl", "1h", "--subject", "alice", "--caveat", "action in read",
        "--third-party", f"{login.location}=need-declared username is-known", "--third-party", f"{till.location}=paid",
    ).done().strip()  # fmt: skip
    text = ask("inspect", stdin=token).done()
    assert f"third party {login.location}  must confirm a secret condition" in text
    assert f"2 discharges are missing ({login.location}, {till.location})" in text
    denied = ask("verify", "--context", "action=read", stdin=token)
    assert denied.out == f"denied: discharge-missing\ncaveat: {login.location}\n"
    line = ask("exchange", stdin=token).refused(1, "discharge-missing")
    assert login.location in line
    assert "capsvc discharge" in line
    half = login.bundle(token, username="ada")
    bundle = f"{half}~{till.bundle(token).partition('~')[2]}"
    out = ask("verify", "--context", "action=read", stdin=bundle).done()
    assert f"declared.{login.name}.username: ada\n" in out
    exchanged = ask("exchange", stdin=bundle).done()
    assert exchanged.endswith("\n")
    assert "~" not in exchanged
    assert all(caveat.vid is None for caveat in decode(exchanged.strip()).caveats)
    assert ask("verify", "--context", "action=read", stdin=exchanged).done().startswith("allowed\n")
    assert ask("verify", "--context", "action=write", stdin=exchanged).out.startswith("denied: caveat-refused\n")
    value = json.loads(ask("exchange", "--json", "-", stdin=bundle).done())
    assert list(value)[:4] == ["token", "id", "audience", "subject"]
    assert (value["subject"], value["label"]) == ("alice", None)
    ask("revoke", stdin=token).done()
    for text in (exchanged, value["token"]):
        assert ask("verify", "--context", "action=read", stdin=text).out == "denied: revoked\n"
    ask("exchange", stdin=bundle).refused(1, "revoked")


@pytest.mark.parametrize(
    ("text", "code", "kind"),
    [("", 2, "usage"), ("x", 1, "malformed"), ("A" * 40_000, 1, "too-large"), ("é", 1, "malformed")],
    ids=lambda value: str(value)[:5],
)
def test_exchange_of_what_is_no_token(ask: Ask, text: str, code: int, kind: str) -> None:
    """No input, noise, too much of it."""
    ask("exchange", stdin=text).refused(code, kind)


def test_exchange_of_credentials(ask: Ask, live: Live) -> None:
    """The administrator's own is not exchanged; a narrowed credential that may not exchange is told which caveat."""
    admin = (live.data / "admin.token").read_text()
    ask("exchange", stdin=admin).refused(1, "forbidden")
    narrowed = ask("attenuate", "--caveat", "action in tokens:mint", stdin=admin).done()
    with open("c", "w") as file:  # noqa: PTH123 - in the test's own directory
        file.write(narrowed)
    token = ask("mint", "--ttl", "1h", "--credential-file", "c").done()
    line = ask("exchange", "--credential-file", "c", stdin=token).refused(1, "caveat-refused")
    assert "action in tokens:mint" in line


def test_bakery_keys(ask: Ask, register: Register) -> None:
    """Prepared, listed, rotated; what was minted before stays good; a second one waits for the rotation."""
    party = register()
    old = ask("mint", "--ttl", "1h", "--third-party", f"{party.location}=is-known").done().strip()
    made = json.loads(ask("bakery-keys", "prepare", "--json").done())
    assert (list(made), made["state"]) == (["public_key", "state", "created_at"], "next")
    assert f"{made['public_key']}\tnext\t" in ask("bakery-keys", "list").done()
    ask("bakery-keys", "prepare").refused(1, "exists")
    out = ask("bakery-keys", "rotate").done()
    assert out.startswith(f"public_key: {made['public_key']}\nstate: active\ncreated_at: 20")
    young = ask("mint", "--ttl", "1h", "--third-party", f"{party.location}=is-known").done().strip()
    for token in (old, young):
        assert ask("verify", stdin=party.bundle(token)).done().startswith("allowed\n")
    states = [row.split("\t")[1] for row in ask("bakery-keys", "list").done().splitlines()]
    assert states.count("active") == 1
    value = json.loads(ask("bakery-keys", "list", "--json").done())
    assert (list(value), len(value["bakery_keys"])) == (["bakery_keys", "next"], len(states))
