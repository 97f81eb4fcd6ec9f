"""Macaroon-bakery's wire as its clients speak it: requests for discharges, and what dischargers answer. No I/O.

The answer is read as strictly as its many writers allow (Go's and Python's macaroon-bakery, Candid): JSON without
repeated names, a macaroon as V2 JSON, base64 of either alphabet around it.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, NoReturn

from capsvc.client.errors import DischargeError
from capsvc.client.messages import read_json, safe_message
from capsvc.client.steps import Reply
from capsvc.errors import TokenError
from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.thirdparty import read_key
from capsvc.token import Token

__all__ = [
    "Discharge",
    "Interaction",
    "Proof",
    "bad_answer",
    "discharge_form",
    "read_discharge",
    "read_info",
    "read_login",
    "read_proof",
    "told_key",
]

INTERACTION_REQUIRED: Final = "interaction required"
_NOT_A_CODE: Final = re.compile(r"[^a-z0-9]+")
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_KIND: Final = re.compile(r"[\x21-\x7e]{1,64}")


class Proof(NamedTuple):
    """What an interaction brings, and the next request for the discharge shows: bakery's discharge token, a secret."""

    kind: str
    value: bytes

    def __repr__(self) -> str:
        return f"<Proof {self.kind}>"


class Discharge(NamedTuple):
    """A macaroon as bakery sends it: not bound; the ids of its third-party caveats may stand for more, held apart."""

    token: Token
    held_apart: Mapping[bytes, bytes]


class Interaction(NamedTuple):
    """How a discharger would be told who asks: by an agent, at ``login``, or by a person, at ``visit``."""

    login: object = None
    visit: object = None
    wait: object = None


def discharge_form(caveat_id: bytes, sealed: bytes, proof: Proof | None = None) -> dict[str, str]:
    """The parameters of ``POST /discharge``.

    ``caveat64``, what the discharger opens, is sent always, even where it is the id: a bakery discharger then derives
    the ids of nested caveats from the id. Else it numbers them from ``03 00`` on, and those of two discharges are
    the same.
    """
    form = {"id64": b64encode(caveat_id), "caveat64": b64encode(sealed)}
    if proof is not None:
        form |= {"token64": binascii.b2a_base64(proof.value, newline=False).decode(), "token-kind": proof.kind}
    return form


def read_discharge(reply: Reply, whom: str) -> Discharge | Interaction:
    """The discharge, or how to come by it.

    Raises:
        DischargeError: the discharger refuses, or it is none.

    """
    if reply.status == HTTPStatus.OK:
        return _macaroon(_object(reply, whom).get("Macaroon"), reply, whom)
    error = _error(reply, whom)
    if _field(error, "Code") != INTERACTION_REQUIRED:
        _refuse(reply, whom, error)
    return _interaction(_field(error, "Info"))


def read_login(reply: Reply, whom: str) -> Discharge:
    """The macaroon that an agent completes, to show who it is. Raises `DischargeError`."""
    return _macaroon(_granted(reply, whom).get("macaroon"), reply, whom)


def told_key(octets: bytes) -> tuple[str | None, object]:
    """The public key in an answer of ``/discharge/info``, if it is one in its one spelling, and bakery's version."""
    try:
        info = read_json(octets)
        key, version = (info.get("PublicKey"), info.get("Version")) if isinstance(info, dict) else (None, None)
        if isinstance(key, str):
            read_key(key)
            return key, version
    except ValueError:
        pass
    return None, None


def read_info(reply: Reply, whom: str) -> bytes:
    """The public key that a discharger says is its own. Raises `DischargeError`."""
    key, _ = told_key(reply.octets) if reply.status == HTTPStatus.OK else (None, None)
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _error(reply, whom)
    if key is None:
        bad_answer(reply, whom, "it does not tell its public key at /discharge/info")
    return read_key(key)


def read_proof(reply: Reply, whom: str) -> Proof:
    """What a person's visit brought. Raises `DischargeError`."""
    answer = _granted(reply, whom)
    kind, text, encoded = (answer.get(name) for name in ("kind", "token", "token64"))
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        bad_answer(reply, whom, "it told of no kind of token")
    try:
        value = text.encode() if isinstance(text, str) and encoded is None else _base64(encoded)
    except ValueError:
        bad_answer(reply, whom, "it sent no token")
    if not value:
        bad_answer(reply, whom, "it sent an empty token")
    return Proof(kind, value)


def bad_answer(reply: Reply, whom: str, message: str) -> NoReturn:
    """Refuse an answer. Raises `DischargeError`."""
    raise DischargeError(reply.status, "bad-answer", whom, message)


def _granted(reply: Reply, whom: str) -> dict[str, Any]:
    if reply.status != HTTPStatus.OK:
        _refuse(reply, whom, _error(reply, whom))
    return _object(reply, whom)


def _object(reply: Reply, whom: str) -> dict[str, Any]:
    try:
        value = read_json(reply.octets)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        media_type = safe_message(reply.content_type)[:60] or "something"
        bad_answer(reply, whom, f"it answered {reply.status} with {media_type} that is no JSON object: no discharger")
    return value


def _macaroon(value: object, reply: Reply, whom: str) -> Discharge:
    """``{"m": macaroon, "v": 3, "ns": …, "cdata": {id: what it stands for}}``, or the macaroon alone."""
    fields = value if isinstance(value, dict) and "m" in value else {"m": value}
    try:
        token = Token.parse(_text(fields["m"]))
        data = fields.get("cdata", {})
        apart = {_base64(name): _base64(data[name]) for name in data} if isinstance(data, dict) else None
    except (TokenError, ValueError, RecursionError) as error:
        bad_answer(reply, whom, f"it sent no macaroon that can be read ({safe_message(str(error))})")
    if token.is_bundle or apart is None:
        bad_answer(reply, whom, "it sent something else than one macaroon")
    return Discharge(token, apart)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _base64(text: object) -> bytes:
    """Octets from base64 of either alphabet, padded or not, as bakery's libraries write it. Raises `ValueError`."""
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004 - whoever sent it is refused alike
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    return binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)


def _error(reply: Reply, whom: str) -> dict[str, Any]:
    """The object of an answer that grants nothing."""
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise DischargeError(reply.status, "unavailable", whom, f"it failed ({reply.status}); try again later")
    if reply.status < HTTPStatus.BAD_REQUEST:
        bad_answer(reply, whom, f"it answered {reply.status}; redirects are not followed")
    return _object(reply, whom)


def _refuse(reply: Reply, whom: str, error: Mapping[str, Any]) -> NoReturn:
    code, message = _field(error, "Code"), _field(error, "Message")
    spelled = _NOT_A_CODE.sub("-", code.lower()).strip("-") if isinstance(code, str) else ""
    told = safe_message(message) if isinstance(message, str) and message else f"it answered {reply.status}"
    raise DischargeError(reply.status, spelled if _CODE.fullmatch(spelled) else "discharge-refused", whom, told)


def _field(error: Mapping[str, Any], name: str) -> object:
    """A field of an error; some dischargers spell its name in lower case, and bakery's clients let them."""
    return error.get(name, error.get(name.lower()))


def _interaction(info: object) -> Interaction:
    methods = _fields(_fields(info).get("InteractionMethods"))
    agent, window = _fields(methods.get("agent")), _fields(methods.get("browser-window"))
    return Interaction(agent.get("login-url"), window.get("VisitURL"), window.get("WaitTokenURL"))


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
