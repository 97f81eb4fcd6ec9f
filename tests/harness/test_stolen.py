"""A stolen database, and everything else that a service leaves behind: no secret in it, and no use without the key.

A real service runs with two workers while it is asked for everything that it does and for much that it refuses, with
secrets in every place where a careless caller may put them. Then every secret of that run is searched for, spelled in
every usual way, in all that was written down, answered or shown.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from pymacaroons import Macaroon

from capsvc import Authority, Denied, Settings, Token, TokenError, create_app
from capsvc.authority.audit import AuditLog
from capsvc.authority.keys import open_key
from capsvc.authority.seal import MasterKey
from capsvc.client import Client, ServiceError
from capsvc.config import SettingsError
from capsvc.errors import RequestError, StartError
from capsvc.macaroon.build import bind
from capsvc.macaroon.bundle import split
from capsvc.macaroon.chain import compute
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode
from capsvc.macaroon.identifier import Identifier, parse
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text, read_parties
from capsvc.store.sqlite import SqliteStore
from caveats import CaveatError

from ..http.conftest import Party  # noqa: TID252 - a third party asks and answers in one way

ROOT = Path(__file__).parents[2]
CONFIG = '[attributes.floor]\ntype = "integer"\n[attributes.tenant]\ntype = "word"\nfact = true\n'
NOT_FOUND_IN = {"master.key", "admin.token"}  # the secrets' own files


# How a secret may be spelled.


def spellings(secret: bytes) -> Iterator[bytes]:
    """Raw, as Python shows it, in hexadecimal, in base64 of both alphabets at each of its three alignments."""
    yield secret
    shown = repr(b"\"'" + secret).removeprefix("b'\"\\'").removesuffix("'").encode()
    yield shown
    yield shown.replace(b"\\'", b"'")  # where no double quote stands beside it
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for alignment in range(3):
        # What depends on the octets before and after is cut off: ceil(8a/6) characters, and the last ones.
        text = base64.b64encode(bytes(alignment) + secret)
        start, end = (0, 2, 3)[alignment], (alignment + len(secret)) * 8 // 6
        yield text[start:end]
        yield text[start:end].replace(b"+", b"-").replace(b"/", b"_")


def found(secrets_: dict[str, bytes], places: dict[str, bytes]) -> list[str]:
    """Which secrets are where."""
    needles = [(name, needle) for name, secret in secrets_.items() for needle in set(spellings(secret))]
    assert all(len(needle) >= 16 for _, needle in needles)
    return [f"{name} in {place}" for place, content in places.items() for name, needle in needles if needle in content]


def test_the_search_finds_every_spelling() -> None:
    """The positive control: each secret, in each spelling, in the middle of something else, at every alignment."""
    for length in (31, 32, 33, 72):
        secret = secrets.token_bytes(length)
        for before in range(6):
            around = secrets.token_bytes(before), secrets.token_bytes(7)
            blob = around[0] + secret + around[1]
            for spelled in (
                blob,
                repr(blob).encode(),
                blob.hex().encode(),
                blob.hex().upper().encode(),
                base64.b64encode(blob),
                base64.urlsafe_b64encode(blob).rstrip(b"="),
                json.dumps({"x": base64.b64encode(blob).decode()}).encode(),
            ):
                assert found({"it": secret}, {"there": spelled}) == ["it in there"] * len(
                    [needle for needle in set(spellings(secret)) if needle in spelled]
                )
                assert found({"it": secret}, {"there": spelled})
        assert found({"it": secret}, {"there": secrets.token_bytes(5000).hex().encode()}) == []


# The run.


class Run:
    """A service that was used, and what is known of it."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.tokens: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.outputs: dict[str, bytes] = {}
        self.parties = (Party("login"), Party("till"))
        self.between: dict[str, bytes] = {}
        """What only issuer, discharger or holder may see of discharges."""

    @property
    def data_dir(self) -> Path:
        """Its data directory."""
        path: Path = self.service.data_dir
        return path

    def mint(self, connection: Any, **fields: object) -> dict[str, Any]:
        """A fresh token."""
        status, answer = connection.ask("POST", "/v1/tokens", {"audience": "default", "ttl": 3600, **fields})
        assert status == 201, answer
        self.tokens.append(answer["token"])
        return dict(answer)

    def narrowed(self, token: str, *caveats: str) -> str:
        """A token made from another."""
        text = str(Token.parse(token).attenuate(*caveats, attributes={"floor": {"type": "integer"}}))
        self.tokens.append(text)
        return text

    def keep(self, connection: Any, method: str, path: str, sent: dict[str, str], body: bytes = b"") -> None:
        """Keep everything of an answer that must hold no secret."""
        self.answers[f"{method} {path[:16]} ({len(self.answers)})"] = connection.raw(method, path, body, sent)


def use(run: Run) -> None:
    """Everything that works."""
    with closing(run.service.connect()) as connection:
        ask = connection.ask
        assert ask("POST", "/v1/audiences", {"name": "photos", "max_ttl": 7200})[0] == 201
        plain = run.mint(connection)
        rich = run.mint(
            connection, subject="alice", facts={"tenant": "acme"}, caveats=["floor in 1,2", "action = read"], label="x"
        )
        photos = run.mint(connection, audience="photos")
        first = run.narrowed(rich["token"], "floor = 1")
        second = run.narrowed(first, "path under /a", "method = GET")
        context = {"floor": 1, "action": "read", "path": "/a/b", "method": "GET"}
        for token in (plain["token"], rich["token"], first, second):
            for extra in (
                {},
                {"explain": True},
                {"prefix": True},
                {"context": context, "explain": True, "prefix": True},
            ):
                body = {"token": token, "audience": "default", **extra}
                run.keep(connection, "POST", "/v1/verify", headers(run), json.dumps(body).encode())
        batch = {"requests": [{"token": token, "audience": "default", "context": context} for token in run.tokens]}
        run.keep(connection, "POST", "/v1/verify/batch", headers(run), json.dumps(batch).encode())
        assert ask("POST", "/v1/audiences/default/keys", b"")[0] == 201
        later = [run.mint(connection, subject="bob") for _ in range(30)]
        revocations: list[dict[str, object]] = [
            {"id": later[0]["id"]},
            {"token": later[1]["token"]},
            {"token": second},
            {"audience": "default", "subject": "bob"},
            {"key": kid(photos["token"])},
        ]
        for body in revocations * 2:
            run.keep(connection, "POST", "/v1/revocations", headers(run), json.dumps(body).encode())
        form = urlencode({"token": run.narrowed(plain["token"], "floor = 7")}).encode()
        run.keep(connection, "POST", "/v1/revoke", {"content-type": FORM}, form)
        for path in (
            "/v1/tokens", "/v1/tokens?subject=alice", f"/v1/tokens/{rich['id']}", "/v1/audiences",
            "/v1/audiences/photos", "/v1/audiences/default/keys",
            "/healthz", "/readyz", "/openapi.json", "/.well-known/capsvc",
        ):  # fmt: skip
            run.keep(connection, "GET", path, headers(run))
        narrowed_admin = run.narrowed(run.service.admin, "for.audience = photos")
        run.keep(connection, "GET", "/v1/tokens", {"authorization": f"Bearer {narrowed_admin}"})


CONDITION = "account 4711 at the bank round the corner"


def third_parties(run: Run) -> None:
    """Everything that is done with them: registered, asked, their answers presented and exchanged, changed, removed."""
    login, till = run.parties
    with closing(run.service.connect()) as connection:

        def keep(method: str, path: str, body: object = b"") -> None:
            run.keep(connection, method, path, headers(run), body if isinstance(body, bytes) else _json(body))

        for party in run.parties:
            keep("POST", "/v1/dischargers", party.body)
        minted = run.mint(
            connection, third_party=[login.asks(CONDITION, "username"), till.asks(f"paid for {CONDITION}")]
        )
        narrowed = run.narrowed(minted["token"], "floor = 1")
        discharges = [*login.discharges(narrowed, username="ada"), *till.discharges(narrowed)]
        bundle = bind(decode(narrowed), discharges)
        run.between |= between(run.parties, discharges, bundle)
        assert CONDITION.encode() in run.between["condition 1"]
        for token in (narrowed, bundle, f"{bundle}~{bundle.partition('~')[2]}", f"{narrowed}~{encode(discharges[0])}"):
            for more in ({}, {"context": {"floor": 1}, "explain": True, "prefix": True}):
                keep("POST", "/v1/verify", {"token": token, "audience": "default", **more})
            if token != bundle:
                keep("POST", "/v1/exchange", {"token": token})
        status, exchanged = connection.ask("POST", "/v1/exchange", {"token": bundle})
        assert status == 201, exchanged
        run.tokens.append(exchanged["token"])
        for path in ("", "/rotate", "/rotate"):
            keep("POST", f"/v1/bakery-keys{path}")
        keep("PATCH", "/v1/dischargers/login", {"next_public_key": key_text(KeyPair.generate().public)})
        for path in ("/v1/dischargers", "/v1/dischargers/login", "/v1/bakery-keys", f"/v1/tokens/{minted['id']}"):
            keep("GET", path)
        keep("DELETE", "/v1/dischargers/till")
        keep("POST", "/v1/verify", {"token": bundle, "audience": "default", "explain": True})


def between(parties: Sequence[Party], discharges: list[UnverifiedMacaroon], bundle: str) -> dict[str, bytes]:
    """What of a bundle is secret: questions, root keys, every MAC of the answers, the answers, bound and not."""
    known: dict[str, bytes] = {}
    for number, (discharge, bound) in enumerate(zip(discharges, bundle.split("~")[1:], strict=True)):
        _, first_party = read_parties(discharge.identifier)
        sealed = Channel.of_third_party(parties[number].pair, first_party).open(discharge.identifier)
        assert sealed is not None
        chain_key = derived(sealed.root_key)
        known |= {
            f"condition {number}": sealed.condition,
            f"root key {number}": sealed.root_key,
            f"derived root key {number}": chain_key,
            f"discharge {number}": encode(discharge).encode(),
            f"bound discharge {number}": bound.encode(),
            f"binding {number}": decode(bound).signature,
        }
        for point, mac in enumerate(compute(chain_key, discharge)):
            known[f"MAC {point} of discharge {number}"] = mac
    return known


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


REFUSALS = (Denied, RequestError, CaveatError, TokenError, ServiceError, SettingsError)
FORM = "application/x-www-form-urlencoded"


def headers(run: Run) -> dict[str, str]:
    """The administrator's."""
    return {"authorization": f"Bearer {run.service.admin}", "content-type": "application/json"}


def kid(token: str) -> str:
    """The key that minted."""
    return parse(decode(token).identifier).kid


def misuse(run: Run) -> None:
    """Everything that is refused, with secrets where they do not belong."""
    with closing(run.service.connect()) as connection:
        token = run.mint(connection, caveats=["floor = 1"])["token"]
    admin = run.service.admin
    bearer, kind = headers(run)["authorization"], "application/json"
    altered = token[:-1] + ("A" if token[-1] != "A" else "B")
    texts = [token, altered, admin, token + "=", token + "~" + admin, "Bearer " + admin, token * 40]
    bodies = [
        *({"token": text, "audience": "default"} for text in texts),
        {"token": token, "audience": admin},
        {"token": token, "audience": "default", "context": {token: 1}},
        {"token": token, "audience": "default", "context": {"action": token}},
        {"token": token, "audience": "default", admin: 1},
        {"token": [token], "audience": "default"},
        token,
        [token, admin],
    ]
    cases: list[tuple[str, str, bytes, dict[str, str]]] = [
        ("POST", "/v1/verify", json.dumps(body).encode(), {"authorization": bearer, "content-type": kind})
        for body in bodies
    ]
    raw = [
        token.encode(),
        b"{" + admin.encode(),
        b'{"token": "' + token.encode() + b'", "token": "x"}',
        b"\xff" + token.encode(),
    ]
    cases += [("POST", "/v1/verify", body, {"authorization": bearer, "content-type": kind}) for body in raw]
    cases += [
        ("POST", "/v1/verify", b"{}", {"authorization": value, "content-type": kind})
        for value in (
            f"Bearer {altered}",
            f"Bearer {token}",
            f"Basic {admin}",
            f"Bearer {admin} {token}",
            admin,
            f"bearer  {admin}x",
        )
    ]
    cases += [
        ("POST", "/v1/tokens", json.dumps({"audience": "default", "ttl": 60, **more}).encode(), {
            "authorization": bearer, "content-type": kind})
        for more in (
            {"subject": token}, {"caveats": [token]}, {"facts": {token: "x"}}, {"facts": {"tenant": token}},
            {"label": admin + "\n"}, {"audience": token}, {admin: token},
            {"third_party": [{"location": token, "condition": admin}]},
            {"caveats": ["action = " + token]}, {"caveats": ["floor = 1"] * 70}, {"ttl": token},
        )
    ]  # fmt: skip
    cases += [
        ("POST", "/v1/revocations", json.dumps(body).encode(), {"authorization": bearer, "content-type": kind})
        for body in (
            {"id": token},
            {"key": admin},
            {"token": altered},
            {"audience": token, "subject": admin},
            {"before": token},
        )
    ]
    cases += [
        ("POST", "/v1/revoke", urlencode(body).encode(), {"content-type": FORM})
        for body in (
            [("token", altered)],
            [("token", token), ("token", admin)],
            [("x", token)],
            [("token", "x"), (admin, "y")],
        )
    ]
    cases += [
        (
            "POST",
            "/v1/audiences",
            json.dumps({"name": token}).encode(),
            {"authorization": bearer, "content-type": kind},
        ),
        ("PATCH", f"/v1/audiences/{token}", b'{"max_ttl": 1}', {"authorization": bearer, "content-type": kind}),
        ("DELETE", f"/v1/audiences/default/keys/{token}", b"", {"authorization": bearer}),
        ("POST", "/v1/verify", b"x", {"authorization": bearer, "content-type": admin}),
    ]
    for path in (f"/v1/tokens/{token}", f"/v1/tokens?subject={quote(token)}", f"/v1/tokens?after={token}", f"/{admin}",
                 f"/v1/tokens?{admin}=1", f"/healthz?token={token}", f"/v1/verify/{token}"):  # fmt: skip
        cases += [(method, path, b"", {"authorization": bearer}) for method in ("GET", "POST", "PUT")]
    for path in ("/v1/exchange", "/v1/dischargers"):
        for body in (
            {"token": altered},
            {"token": token + "="},
            {"token": [token]},
            {"name": token, "location": admin, "public_key": token},
            {"name": "x", "location": token, "public_key": token[:44]},
            {"name": "x", "location": f"https://{token[:60]}@x", "public_key": run.parties[0].public_key},
            token,
            {admin: token},
        ):
            cases.append(("POST", path, json.dumps(body).encode(), {"authorization": bearer, "content-type": kind}))
    cases += [
        ("PATCH", "/v1/dischargers/login", json.dumps({"public_key": token}).encode(), {
            "authorization": bearer, "content-type": kind}),
        ("DELETE", f"/v1/dischargers/{token}", b"", {"authorization": bearer}),
        ("POST", "/v1/bakery-keys", token.encode(), {"authorization": bearer}),
        ("POST", "/v1/bakery-keys/rotate", b"", {"authorization": f"Bearer {altered}"}),
    ]  # fmt: skip
    for method, path, body, sent in cases:
        with closing(run.service.connect()) as connection, suppress(OSError):
            run.keep(connection, method, path, sent, body)


def command_line(run: Run) -> None:
    """The same by commands; what a token-making command writes to standard output is not kept."""
    with closing(run.service.connect()) as connection:
        token = run.mint(connection, caveats=["floor = 1"])["token"]
    admin = run.service.admin
    good = [
        (("mint", "--ttl", "1h", "--subject", "carol"), None),
        (("mint", "--ttl", "1h", "--json"), None),
        (("admin-token",), None),
        (("attenuate", "--caveat", "action = read"), token),
        (("convert", "--to", "v1"), token),
        (("exchange",), token),
    ]
    for arguments, given in good:
        done = capsvc(run, *arguments, given=given)
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode().strip()
        text = json.loads(text)["token"] if text.startswith("{") else text
        run.tokens.append(token if arguments[0] == "convert" else text)
        run.outputs[f"{arguments} stderr"] = done.stderr
    others: list[tuple[tuple[str, ...], str | None]] = [
        (("verify", "--context", "floor=1", "--explain"), token),
        (("verify", "--json"), token),
        (("verify",), token[:-4] + "AAAA"),
        (("verify",), token + "="),
        (("verify", "--context", f"floor={token}"), token),
        (("verify", "--audience", admin), token),
        (("inspect",), token),
        (("inspect", "--json"), token),
        (("inspect",), token[: len(token) // 2]),
        (("attenuate", "--caveat", token), token),
        (("attenuate", "--caveat", "nonsense"), token),
        (("attenuate",), token),
        (("attenuate", "--caveat", "floor = 1", token), None),
        (("convert", "--to", "v2", "--to", admin), token),
        (("revoke",), token[:-4] + "AAAA"),
        (("revoke", "--id", token), None),
        (("revoke",), token),
        (("mint", "--ttl", token), None),
        (("mint", "--ttl", "1h", "--caveat", token), None),
        (("mint", "--ttl", "1h", "--audience", admin), None),
        (("tokens", "list"), None),
        (("tokens", "show", token), None),
        (("audiences", "list", "--json"), None),
        (("keys", "list"), None),
        (("dischargers", "list"), None),
        (("dischargers", "set", "login", "--next-public-key", token[:44]), None),
        (("dischargers", "remove", token), None),
        (("exchange",), token + "="),
        (("discharge", "--no-browser"), token),
        (("discharge", "--no-browser"), token[:-4] + "AAAA"),
        (("mint", "--ttl", "1h", "--third-party", f"{token}={admin}"), None),
        (("check", token), None),
        ((token,), None),
        (("--" + admin,), None),
    ]
    for arguments, given in others:
        done = capsvc(run, *arguments, given=given)
        assert b"Traceback" not in done.stderr, done.stderr
        run.outputs[f"{[one[:20] for one in arguments]}"] = done.stdout + done.stderr


def capsvc(run: Run, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """One command against the service."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CAPSVC_")}
    return subprocess.run(
        [sys.executable, "-m", "capsvc.cli", *arguments],
        input=b"" if given is None else given.encode(),
        capture_output=True,
        check=False,
        timeout=60,
        cwd=run.data_dir.parent,
        env={**clean, "PYTHONPATH": str(ROOT), "CAPSVC_DATA_DIR": str(run.data_dir)},
    )


def written(run: Run) -> dict[str, bytes]:
    """Everything that is in files, but the secrets' own."""
    paths = [*run.data_dir.iterdir(), run.service.out, run.service.err]
    return {path.name: path.read_bytes() for path in paths if path.is_file() and path.name not in NOT_FOUND_IN}


def all_secrets(run: Run) -> dict[str, bytes]:
    """Every secret of the run: keys, what is sealed, tokens, and the MAC at each point of each token's chain."""
    master_octets = (run.data_dir / "master.key").read_bytes()
    master = MasterKey(master_octets)
    known = {"the master key": master_octets, **run.between}
    with closing(SqliteStore(run.data_dir / "capsvc.db")) as store:
        keys = {record.kid: open_key(master, record) for record in store.signing_keys()}
        for number, box in enumerate(store.box_keys()):
            private = master.open(box.secret, "box_keys", box.public.hex(), "", "private key")
            known[f"box key {number}"] = private
            for party in run.parties:
                shared = KeyPair(private).box(party.pair.public).shared_key()
                known[f"what box key {number} shares with {party.name}"] = bytes(shared)
    for name, key in keys.items():
        known[f"key {name}"] = key.root
        known[f"derived key {name}"] = derived(key.root)
    for number, text in enumerate(dict.fromkeys([*run.tokens, run.service.admin])):
        macaroon = decode(text)
        known[f"token {number}"] = text.encode()
        known[f"token {number} decoded"] = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        for point, mac in enumerate(compute(keys[kid(text)].chain, macaroon)):
            known[f"MAC {point} of token {number}"] = mac
        assert known[f"MAC {len(macaroon.caveats)} of token {number}"] == macaroon.signature
    return known


def derived(root: bytes) -> bytes:
    """Libmacaroons' key generator, by the standard library."""
    return hmac.digest(b"macaroons-key-generator".ljust(32, b"\0"), root, "sha256")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, service_class: Callable[..., Any]) -> Iterator[Run]:
    """A service that was used and misused, and has ended; its write-ahead log was copied while it ran."""
    data_dir = tmp_path_factory.mktemp("stolen") / "data"
    data_dir.mkdir(mode=0o700)
    (data_dir / "capsvc.toml").write_text(CONFIG)
    service = service_class(data_dir, 2)
    try:
        service.start()
        done = Run(service)
        use(done)
        third_parties(done)
        misuse(done)
        command_line(done)
        done.answers |= {f"{name} while it ran": content for name, content in written(done).items()}
        assert service.stop() == 0
        yield done
    finally:
        service.kill()


def test_no_secret_is_written_answered_or_shown(run: Run, tell: Callable[[str], None]) -> None:
    """In database, logs, error answers, the commands' output."""
    known = all_secrets(run)
    places = {**run.answers, **run.outputs, **written(run)}
    assert any("db-wal while it ran" in name for name in places)
    assert len(run.answers) > 80
    answered = b"".join(run.answers.values())
    for said in (
        b'"allowed":true',
        b'"branches":["',
        b'"verdicts":[{',
        b'"kind":"branch"',
        b'"code":"malformed"',
        b'"declared":{"login":{"username":"ada"}}',
        b'"code":"discharge-missing"',
        b'"code":"discharge-unused"',
        b'"state":"retiring"',
        b"401",
    ):
        assert said in answered, said
    assert b"/v1/tokens" in run.service.err.read_bytes()
    assert b"Traceback" not in run.service.err.read_bytes()
    assert found(known, places) == []
    own = {name: (run.data_dir / name).read_bytes() for name in NOT_FOUND_IN}
    assert found(known, own)
    size = sum(map(len, places.values()))
    tell(f"stolen database: {len(known)} secrets searched for in {len(places)} places, {size} octets: none found")


def test_no_secret_is_in_the_repr_of_any_public_value(run: Run) -> None:
    """Of what the package exports, of errors with their tracebacks, of a client."""
    known = all_secrets(run)
    settings = Settings(data_dir=run.data_dir, attributes={"floor": {"type": "integer"}})
    token = next(text for text in run.tokens if kid(text) and len(decode(text).caveats) == 1)
    shown: list[object] = [settings, Token.parse(token), decode(token), create_app]
    with Authority.open(settings) as authority, Client("http://127.0.0.1:1", run.service.admin) as client:
        minted = authority.mint(audience="default", ttl=600, subject="dave")
        known["a token minted here"] = minted.token.encode()
        known["its MAC"] = decode(minted.token).signature
        credential = authority.authenticate(run.service.admin, context={})
        grant = authority.authorize(minted.token, audience="default", explain=True, prefix=True)
        shown += [authority, client, minted, grant, grant.verdicts, credential, authority.vocabulary, authority.issuer]
        shown += [authority.keys("default"), authority.audiences(), authority.token(minted.id), authority.tokens()]
        shown += [authority.target_of(minted.token), authority.revoke(token=minted.token), authority.public_key]
        shown += [authority._follower.view().keys, authority._follower._master, AuditLog(authority._follower._master)]
        shown += [authority._decider.presenter.present(minted.token), authority._store, list(authority._store.audit())]
        login = run.parties[0]
        asking = authority.mint(audience="default", ttl=600, third_party=[login.asks(CONDITION, "username")]).token
        discharges = login.discharges(asking, username="ada")
        bundle = bind(decode(asking), discharges)
        known |= {f"{name}, here": secret for name, secret in between([login], discharges, bundle).items()}
        registry = authority._follower.view().registry
        question = registry.seal(registry.dischargers[0], CONDITION)
        known["a root key, here"] = question[0].root_key
        shown += [authority.authorize(bundle, audience="default", explain=True), authority.exchange(bundle), registry]
        shown += [registry.pairs, list(registry._channels.values()), question, authority.dischargers()]
        shown += [authority.bakery_keys(), authority._decider.presenter.present(bundle), discharges, split(bundle)]
        for fail in (
            lambda: authority.authorize(asking, audience="default"),
            lambda: authority.authorize(f"{bundle}~{bundle.partition('~')[2]}", audience="default"),
            lambda: authority.exchange(f"{asking}~{encode(discharges[0])}"),
            lambda: authority.mint(audience="default", ttl=1, third_party=[{"location": token, "condition": token}]),
            lambda: authority.add_discharger(name=token, location=token, public_key=token),
            lambda: authority.set_discharger("login", public_key=token[:44]),
            lambda: authority.authorize(minted.token, audience="default"),
            lambda: authority.authorize(token, audience=token),
            lambda: authority.authorize(token[:-4] + "AAAA", audience="default"),
            lambda: authority.authorize(token + "=", audience="default"),
            lambda: authority.mint(audience=token, ttl=1),
            lambda: authority.mint(audience="default", ttl=1, subject=token * 2),
            lambda: authority.mint(audience="default", ttl=1, caveats=[token]),
            lambda: authority.revoke(token=token + "="),
            lambda: Token.parse(token + "="),
            lambda: Token.parse(token[: len(token) // 2]),
            lambda: Token.parse(token).attenuate(token),
            lambda: client.authorize(token, audience="default"),
            lambda: Settings(data_dir=run.data_dir, issuer=token),
            lambda: Settings.from_env({"CAPSVC_PORT": token}),
        ):
            with pytest.raises(REFUSALS) as error:
                fail()
            shown += [error.value, str(error.value), "".join(traceback.format_exception(error.value))]
    places = {f"{type(value).__name__} {number}": repr(value).encode() for number, value in enumerate(shown)}
    places |= {f"text of {number}": value.encode() for number, value in enumerate(shown) if isinstance(value, str)}
    assert found(known, places) == []


# What a thief can do with the database.


@pytest.fixture
def loot(run: Run, tmp_path: Path) -> Path:
    """The database in a directory of the thief's."""
    directory = tmp_path / "loot"
    directory.mkdir(mode=0o700)
    shutil.copy(run.data_dir / "capsvc.db", directory / "capsvc.db")
    return directory


def test_without_the_master_key_it_does_not_open(run: Run, loot: Path) -> None:
    """No key, a made-up one, one of all zeros: exit 3, and nothing was made; with its own key it does."""
    for octets in (None, secrets.token_bytes(32), bytes(32)):
        if octets is not None:
            (loot / "master.key").write_bytes(octets)
            (loot / "master.key").chmod(0o600)
        with pytest.raises(StartError) as error:
            Authority.open(Settings(data_dir=loot))
        assert error.value.exit_code == 3
        assert error.value.code in {"master-key-missing", "master-key-wrong"}
        assert not (loot / "admin.token").exists()
    shutil.copy(run.data_dir / "master.key", loot / "master.key")
    with Authority.open(Settings(data_dir=loot, attributes={"floor": {"type": "integer"}})) as authority:
        assert authority.authorize(run.service.admin, audience="capsvc")


def execute(path: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    """The thief's hand in the file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement, values in statements:
            connection.execute(statement, values)


def test_a_master_key_of_the_thiefs_own_opens_none_of_its_keys(loot: Path) -> None:
    """Though he seals the value by which it is known: the keys' rows are under the old one."""
    octets = secrets.token_bytes(32)
    (loot / "master.key").write_bytes(octets)
    (loot / "master.key").chmod(0o600)
    sealed = MasterKey(octets).seal(b"capsvc", "meta", "master-check", "", "check")
    execute(loot / "capsvc.db", ("UPDATE meta SET value = ? WHERE name = 'master-check'", (sealed,)))
    with pytest.raises(StartError) as error:
        Authority.open(Settings(data_dir=loot))
    assert (error.value.exit_code, error.value.code) == (3, "database")
    assert not (loot / "admin.token").exists()


def test_a_key_of_the_thiefs_own_is_no_key_of_the_services(run: Run, tmp_path: Path) -> None:
    """Put among the keys of the real directory, sealed and labelled as he can: the service does not start with it."""
    directory = tmp_path / "data"
    shutil.copytree(run.data_dir, directory)
    row = ("0123456789abcdef", "capsvc", "retiring", 0, secrets.token_bytes(72), secrets.token_bytes(32))
    insert = "INSERT INTO keys (kid, audience, state, created_at, secret, mac) VALUES (?, ?, ?, ?, ?, ?)"
    execute(directory / "capsvc.db", (insert, row))
    with pytest.raises(StartError):
        Authority.open(Settings.load({"data_dir": directory}, {}))


def contents(path: Path) -> tuple[list[tuple[Any, ...]], set[bytes], set[str]]:
    """The rows of minted tokens, and every value of every column of every table as octets and as text."""
    octets: set[bytes] = set()
    texts: set[str] = set()
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 - the database's own names
                octets |= {value for value in row if isinstance(value, bytes)}
                texts |= {value for value in row if isinstance(value, str)}
        rows = connection.execute("SELECT id, kid, issued_at, caveats FROM tokens").fetchall()
    return rows, octets, texts


def outcome(authority: Authority, text: str, audience: str) -> str:
    """Allowed, or the code."""
    try:
        authority.authorize(text, audience=audience, context={"action": "read", "floor": 1})
    except Denied as denied:
        return denied.code
    return "allowed"


def test_nothing_in_it_can_be_presented_or_minted_with(run: Run, loot: Path) -> None:
    """A token's identifier and caveats can be told from its row; nothing that is there completes it."""
    rows, octets, texts = contents(loot / "capsvc.db")
    pieces = {value[start : start + 32] for value in octets for start in range(max(1, len(value) - 31))}
    pieces = {piece for piece in pieces if len(piece) == 32}
    assert len(rows) > 10
    assert len(pieces) > 100
    with Authority.open(Settings.load({"data_dir": run.data_dir}, {})) as authority:
        audiences = {key.kid: key.audience for name in ("default", "photos", "capsvc") for key in authority.keys(name)}
        genuine = {parse(decode(text).identifier).tid: decode(text) for text in run.tokens}
        completed = 0
        for token_id, key_id, issued_at, caveats in rows:
            told = tuple(RawCaveat(text.encode()) for text in caveats.split("\n"))
            whole = genuine.get(token_id)
            name = Identifier(key_id, token_id, issued_at, len(told)).encode() if whole is None else whole.identifier
            if whole is not None and len(whole.caveats) == len(told):
                text = encode(UnverifiedMacaroon(b"l", name, told, whole.signature))
                assert outcome(authority, text, audiences[key_id]) in {"allowed", "revoked"}
                completed += 1
            for piece in pieces:
                text = encode(UnverifiedMacaroon(b"l", name, told, piece))
                assert outcome(authority, text, audiences[key_id]) == "invalid-token"
        assert completed > 5
        token_id, key_id, issued_at, caveats = rows[0]
        for piece in pieces:
            macaroon = Macaroon(location="l", key=piece, version=2, identifier=Identifier(
                key_id, token_id, issued_at, caveats.count("\n") + 1).encode())  # fmt: skip
            for caveat in caveats.split("\n"):
                macaroon.add_first_party_caveat(caveat)
            assert outcome(authority, macaroon.serialize(), audiences[key_id]) == "invalid-token"
        for value in texts:
            assert outcome(authority, value, "default") in {"malformed", "too-large"}
