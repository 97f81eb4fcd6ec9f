"""What breaks tokens elsewhere, as the README's table has it: each test that it names is there, and some more of it."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capsvc import Authority, Denied, Settings
from capsvc.macaroon.chain import compute, derive_key
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode

if TYPE_CHECKING:
    from tests.docs.conftest import Readme

TESTS = Path(__file__).resolve().parents[1]
KNOWN = {
    "algorithm confusion",
    "downgrade",
    "purpose confusion",
    "`kid` injection",
    "missing expiry",
    "caveat bypass",
    "caveat reordering",
    "discharge theft",
    "introspection without authentication",
    "cached verdicts",
    "the five minutes after a revocation",
}


def test_every_row_names_tests_that_there_are(readme: Readme) -> None:
    """Each of the eleven has a row, each row a test at least, and none has gone."""
    rows = readme.table("What breaks tokens", "")
    assert {cells[0].strip("*") for cells in rows} == KNOWN
    assert {len(cells) for cells in rows} == {8}
    assert all(cell for cells in rows for cell in cells)
    for cells in rows:
        named = re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", cells[-1])
        assert named, cells[0]
        for file, test in named:
            tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
            functions = {
                node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert test in functions, f"{file}::{test}"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """A fresh one."""
    with Authority.open(Settings(data_dir=tmp_path / "data")) as opened:
        yield opened


def _outcome(authority: Authority, text: str) -> str:
    try:
        authority.authorize(text, audience="default")
    except Denied as denied:
        return denied.code
    return "allowed"


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _jwt(header: Mapping[str, str], secret: bytes | None) -> str:
    body = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps({'sub': 'ada', 'aud': 'default'}).encode())}"
    return f"{body}.{'' if secret is None else _b64(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def _published(authority: Authority) -> list[bytes]:
    """What everybody can know of the installation's keys."""
    pairs = [base64.b64decode(pair.public_key) for pair in authority.bakery_keys()]
    return [*pairs, *[key.kid.encode() for key in authority.keys("default")], b"\0"]


def test_a_token_that_chooses_how_it_is_checked(authority: Authority) -> None:
    """JWTs without a signature or under what is published are no tokens; nor is a macaroon under what is published."""
    token = authority.mint(audience="default", ttl=60).token
    assert _outcome(authority, token) == "allowed"
    for header in ({"alg": "none"}, {"alg": "None", "typ": "JWT"}):
        assert _outcome(authority, _jwt(header, None)) == "malformed"
    genuine = decode(token)
    for known in _published(authority):
        assert _outcome(authority, _jwt({"alg": "HS256", "kid": known.hex()}, known)) == "malformed"
        assert _outcome(authority, _signed(genuine, known)) == "invalid-token"


def _signed(macaroon: UnverifiedMacaroon, root_key: bytes) -> str:
    """The macaroon under another root key."""
    return encode(macaroon._replace(signature=compute(derive_key(root_key), macaroon)[-1]))


@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "' OR '1'='1", "https://keys.example/ada.jwk", "", "0" * 16, "A" * 16, "|/bin/true", "\0"],
)
def test_a_key_id_that_leads_elsewhere(authority: Authority, kid: str) -> None:
    """It is looked up among the keys that there are, and is neither path nor address nor part of a statement."""
    token = authority.mint(audience="default", ttl=60).token
    genuine = decode(token)
    parts = genuine.identifier.split(b".")
    for root_key in (bytes(32), b"\0", kid.encode() or b"\0"):
        moved = genuine._replace(identifier=b".".join([parts[0], kid.encode(), *parts[2:]]))
        assert _outcome(authority, _signed(moved, root_key)) == "invalid-token"
    assert _outcome(authority, token) == "allowed"


def test_what_came_before_the_signature_is_not_believed(authority: Authority) -> None:
    """A caveat that is put in unsigned, which some verifiers pass over, breaks the token; added rightly it narrows."""
    genuine = decode(authority.mint(audience="default", ttl=60, caveats=["action = read"]).token)
    for caveats in (
        genuine.caveats[:-1],
        (*genuine.caveats, RawCaveat(b"action in read,write")),
        tuple(reversed(genuine.caveats)),
    ):
        assert _outcome(authority, encode(genuine._replace(caveats=caveats))) == "invalid-token"
    assert _outcome(authority, encode(genuine)) == "context-missing"
    assert authority.authorize(encode(genuine), audience="default", context={"action": "read"}).caveats
