"""Minting: what is asked for, checked whole, then written down and acknowledged in one transaction.

Every token gets an upper bound of time from the issuer. Facts come from the request's own fields, never from a caveat.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from capsvc.authority.audit import AuditLog
from capsvc.authority.decision import ADMINISTRATORS
from capsvc.authority.keys import ACTIVE, SigningKey, opened
from capsvc.authority.registry import Registry
from capsvc.authority.seal import MasterKey
from capsvc.authority.view import View
from capsvc.decision.branches import branch_of
from capsvc.decision.instants import END_OF_TIME, NANOSECONDS, aware, seconds_of
from capsvc.errors import RequestError, TokenError
from capsvc.grants import Fact, Minted
from capsvc.macaroon import build
from capsvc.macaroon.bundle import MAX_CAVEAT_OCTETS, MAX_CAVEATS, MAX_DISCHARGES, MAX_TOKEN_OCTETS
from capsvc.macaroon.decode import SIGNATURE_OCTETS
from capsvc.macaroon.encoding import b64decode, b64encode
from capsvc.macaroon.identifier import Identifier
from capsvc.store.protocol import Transaction
from capsvc.store.records import Dependency, DischargerRecord, Minter, TokenRecord
from caveats import (
    Caveat,
    CaveatError,
    Comparison,
    ContextError,
    Vocabulary,
    compare,
    context_value,
    declare,
    encode,
    parse,
    upper_bound,
)

__all__ = [
    "Made",
    "MintRequest",
    "Minting",
    "ThirdParty",
    "TooEarlyError",
    "check_request",
    "check_subject",
    "last_branch",
    "minted",
    "new_token_id",
]

TOKEN_ID_OCTETS: Final = 16
LABEL_CHARACTERS: Final = 200
MAX_CONDITION_OCTETS: Final = 900  # of a third party's caveat id of 1,024, which also holds keys, nonce and root key


@dataclass(frozen=True, slots=True)
class MintRequest:
    """What a caller asks for, checked: the caveats in the order that the token will hold them, the first one aside.

    ``texts`` are the caveats', each in its one spelling. Exactly one of ``ttl`` (seconds) and ``expires_at`` (Unix
    seconds) is set.
    """

    audience: str
    ttl: int | None
    expires_at: int | None
    subject: str | None
    facts: Mapping[str, Fact]
    caveats: tuple[Caveat, ...]
    texts: tuple[str, ...]
    third_parties: tuple[ThirdParty, ...]
    label: str | None
    minter: Minter | None


class ThirdParty(NamedTuple):
    """A registered discharger's location, and the whole condition that is put to him."""

    location: str
    condition: str


class Made(NamedTuple):
    """A token, the row that is kept of it, and of its third parties those that were asked and on what it depends."""

    minted: Minted
    record: TokenRecord
    dischargers: tuple[DischargerRecord, ...]
    dependencies: tuple[Dependency, ...]


class TooEarlyError(Exception):
    """What a token rests on is not so yet, or no longer: try again in a moment.

    The clock has not passed the subject's revocation watermark or the second of a registration, or that was changed.
    """


def check_request(
    view: View,
    now: int,
    *,
    audience: str,
    ttl: int | None,
    expires_at: datetime | None,
    subject: str | None,
    facts: Mapping[str, Fact] | None,
    caveats: Sequence[str],
    third_party: Sequence[object],
    label: str | None,
    minter: Minter | None,
    administrative: bool,
) -> MintRequest:
    """Check everything that a caller asks for, against the state as it is at ``now``.

    Raises:
        RequestError: ``forbidden`` ``audience-unknown`` ``bad-request`` ``ttl-invalid`` ``ttl-too-long``
            ``discharger-unknown`` ``too-large``.
        CaveatError: ``caveat-malformed`` ``caveat-unknown`` ``fact-conflict``.

    """
    if audience == ADMINISTRATORS and not administrative:
        raise RequestError("forbidden", "Tokens of the audience capsvc are made by capsvc admin-token alone.")
    if audience not in view.audiences:
        raise RequestError("audience-unknown")
    _check_label(label)
    until = _checked_end(ttl, expires_at, now, view.audiences[audience].max_ttl)
    vocabulary = view.vocabulary.administrative if administrative else view.vocabulary
    _check_size(caveats)
    stated = _stated(vocabulary, subject, facts or {})
    requested = [_requested(vocabulary, text) for text in caveats]
    thirds = [_third_party(entry) for entry in third_party]
    for third in thirds:
        if view.registry.at(third.location) is None:
            raise RequestError("discharger-unknown")
    if 1 + len(stated) + len(requested) + len(thirds) > MAX_CAVEATS or len(thirds) > MAX_DISCHARGES:
        raise _too_many()
    plain = {fact.attribute: fact.operand for fact in stated if fact.attribute != "sub"}
    kept = {name: value for name, value in plain.items() if isinstance(value, (str, int))}
    return MintRequest(
        audience=audience,
        ttl=ttl,
        expires_at=until,
        subject=subject,
        facts=kept,
        caveats=(*stated, *requested),
        texts=(*map(encode, stated), *caveats),  # what parses is in its one spelling already
        third_parties=tuple(thirds),
        label=label,
        minter=minter,
    )


def _check_size(caveats: Sequence[str]) -> None:
    """Refuse what cannot become a token before anything of it is parsed; with the issuer's own it is counted later."""
    if len(caveats) > MAX_CAVEATS:
        raise _too_many()
    lengths = [len(text) for text in caveats if isinstance(text, str)]
    # One that is too long by itself is no caveat at all, which parsing says.
    if sum(length for length in lengths if length <= MAX_CAVEAT_OCTETS) > MAX_TOKEN_OCTETS * 3 // 4:
        raise RequestError("too-large", f"A token has at most {MAX_TOKEN_OCTETS} octets.")


def _too_many() -> RequestError:
    return RequestError(
        "too-large", f"A token has at most {MAX_CAVEATS} caveats, {MAX_DISCHARGES} of them third parties'."
    )


def _check_label(label: str | None) -> None:
    if label is None:
        return
    if not isinstance(label, str) or len(label) > LABEL_CHARACTERS or any(map(_is_control, label)):
        raise RequestError("bad-request", f"A label is text of at most {LABEL_CHARACTERS} characters, none a control.")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"}  # controls, and halves of surrogate pairs


def _checked_end(ttl: int | None, expires_at: datetime | None, now: int, max_ttl: int) -> int | None:
    """Check the lifetime; return the absolute end where one was asked for."""
    if (ttl is None) == (expires_at is None):
        raise RequestError("bad-request", "Exactly one of ttl and expires_at is needed.")
    if ttl is not None:
        if type(ttl) is not int:
            raise RequestError("bad-request", "A ttl is a whole number of seconds.")
        lifetime, until = ttl, None
    else:
        until = _end(expires_at)
        lifetime = until - now
    if lifetime <= 0:
        raise RequestError("ttl-invalid")
    if lifetime > max_ttl or now + lifetime >= END_OF_TIME:
        raise RequestError("ttl-too-long", f"The audience allows at most {max_ttl} seconds, and no year after 2099.")
    return until


def _end(expires_at: object) -> int:
    try:
        if isinstance(expires_at, datetime):
            return seconds_of(expires_at)
    except ValueError:
        pass
    raise RequestError("bad-request", "expires_at is a datetime with a time zone.")


def _stated(vocabulary: Vocabulary, subject: str | None, facts: Mapping[str, Fact]) -> list[Comparison]:
    """Return the issuer's statements: the subject first, the others by name."""
    if "sub" in facts:
        raise RequestError("bad-request", "The subject has a field of its own; facts holds the others.")
    stated = [] if subject is None else [_fact(vocabulary, "sub", subject)]
    return stated + [_fact(vocabulary, name, facts[name]) for name in sorted(facts)]


def _fact(vocabulary: Vocabulary, name: str, value: Fact) -> Comparison:
    attribute = vocabulary.get(name)
    if attribute is None or not attribute.fact:
        raise CaveatError("caveat-unknown", "a fact is an attribute that is declared as one")
    try:
        return compare(vocabulary, name, "=", context_value(attribute, value))
    except ContextError as error:
        raise CaveatError("caveat-malformed", f"the fact {name}: {error.message}") from None


def check_subject(subject: str) -> str:
    """Return a subject that is a word, else raise `CaveatError`."""
    _fact(Vocabulary.built_in(), "sub", subject)
    return subject


def _requested(vocabulary: Vocabulary, text: str) -> Caveat:
    if not isinstance(text, str):
        raise CaveatError("caveat-malformed", "A caveat is text.")
    caveat = parse(text, vocabulary)
    if isinstance(caveat, Comparison):
        attribute = vocabulary.get(caveat.attribute)
        if attribute is not None and attribute.fact:
            raise CaveatError("fact-conflict", "a fact is stated by the fields subject and facts, not by a caveat", 0)
    return caveat


def _third_party(entry: object) -> ThirdParty:
    """Return what is asked of a third party as HTTP asks for it: names to declare come in a field of their own."""
    if not isinstance(entry, Mapping) or not entry.keys() <= {"location", "condition", "declare"}:
        raise _misshapen()
    location, condition, names = entry.get("location"), entry.get("condition"), entry.get("declare") or []
    if not isinstance(location, str) or not isinstance(condition, str) or not _are_texts(names):
        raise _misshapen()
    if not condition or not condition.isprintable():
        raise CaveatError("caveat-malformed", "A condition is printable text, and not empty.")
    if condition.startswith("need-declared"):
        raise CaveatError("caveat-malformed", "Names that must be declared stand in declare, not in the condition.")
    if len(set(names)) != len(names):
        raise CaveatError("caveat-malformed", "Each name in declare stands there once.")
    for name in names:
        declare(name, "")
    whole = f"need-declared {','.join(names)} {condition}" if names else condition
    if len(whole.encode()) > MAX_CONDITION_OCTETS:
        raise CaveatError("caveat-malformed", f"A condition and its names have at most {MAX_CONDITION_OCTETS} octets.")
    return ThirdParty(location, whole)


def _misshapen() -> RequestError:
    return RequestError("bad-request", "A third party is asked for by location, condition and, if need be, declare.")


def _are_texts(names: object) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


class Minting:
    """Makes tokens and writes them down."""

    def __init__(self, master: MasterKey, audit: AuditLog, issuer: str) -> None:
        """``issuer`` is the location that roots carry: a hint, outside the MAC."""
        self._master = master
        self._audit = audit
        self._issuer = issuer

    def make(self, request: MintRequest, key: SigningKey, registry: Registry, now: int) -> Made:
        """Make a token under a key. Raises `RequestError` ``too-large``, or ``discharger-unknown`` if one has gone."""
        ends = now + request.ttl if request.ttl is not None else request.expires_at or 0
        until = compare(Vocabulary.built_in(), "time", "<", ends)
        caveats, texts = (until, *request.caveats), (encode(until), *request.texts)
        dischargers, thirds, dependencies = _sealed(request.third_parties, registry)
        token_id = new_token_id()
        found = Identifier(key.kid, token_id, now, len(texts) + len(thirds))
        try:
            token = build.mint(key.root, self._issuer, found.encode(), texts, thirds)
        except TokenError as error:
            raise RequestError(error.code) from None
        bounds = [bound for bound in map(upper_bound, caveats) if bound is not None]
        record = TokenRecord(
            id=token_id,
            kid=key.kid,
            audience=request.audience,
            subject=request.subject,
            facts=request.facts,
            label=request.label,
            issued_at=now,
            expires_at=min(bounds) // NANOSECONDS,
            caveats=texts,
            branch=last_branch(token),
            minter=request.minter,
        )
        return Made(minted(token, record), record, dischargers, dependencies)

    def write(self, tx: Transaction, request: MintRequest, made: Made | None, registry: Registry, now: int) -> Minted:
        """Write a made token down; make it anew if its key is no longer the active one.

        Raises:
            RequestError: ``unavailable`` while the audience has no active key.
            TooEarlyError: while the clock has not passed the subject's watermark, or a third party is another.

        """
        if request.subject is not None:
            mark = tx.watermark(request.audience, request.subject)
            if mark is not None and mark.before is not None and now <= mark.before:
                raise TooEarlyError
        kid = tx.active_kid(request.audience)
        if made is None or made.record.kid != kid:
            made = self.make(request, self._active(tx, kid), registry, now)
        record = made.record
        if made.dependencies:
            _check_registered(tx, made)
            tx.insert_dependencies(record.id, record.issued_at, made.dependencies)
        tx.insert_token(record)
        self._audit.append(
            tx, at=now, action="mint", target=record.id, audience=record.audience, minter=record.minter, kid=record.kid
        )
        return made.minted

    def _active(self, tx: Transaction, kid: str | None) -> SigningKey:
        record = None if kid is None else tx.key(kid)
        if record is None:
            raise RequestError("unavailable", "The audience has no active key; rotate its keys.")
        return opened(self._master, record)


def new_token_id() -> str:
    """Return a fresh token id: 128 random bits as 22 characters of base64url."""
    return b64encode(secrets.token_bytes(TOKEN_ID_OCTETS))


def last_branch(token: str) -> bytes:
    """Return the branch of the last point of a token that we made."""
    return branch_of(b64decode(token)[-SIGNATURE_OCTETS:])


def minted(token: str, record: TokenRecord) -> Minted:
    """Return a fresh token as its minter gets it."""
    return Minted(
        token=token,
        id=record.id,
        audience=record.audience,
        subject=record.subject,
        facts=record.facts,
        label=record.label,
        issued_at=aware(record.issued_at),
        expires_at=aware(record.expires_at),
        caveats=record.caveats,
    )


def _sealed(
    asked: Sequence[ThirdParty], registry: Registry
) -> tuple[tuple[DischargerRecord, ...], list[build.ThirdPartyCaveat], tuple[Dependency, ...]]:
    """Return the dischargers that are asked, the caveats for them, and what the token depends on."""
    dischargers: list[DischargerRecord] = []
    caveats: list[build.ThirdPartyCaveat] = []
    dependencies: list[Dependency] = []
    for third in asked:
        found = registry.at(third.location)
        if found is None:
            raise RequestError("discharger-unknown")
        caveat, dependency = registry.seal(found, third.condition)
        dischargers.append(found)
        caveats.append(caveat)
        dependencies.append(dependency)
    return tuple(dischargers), caveats, tuple(dependencies)


def _check_registered(tx: Transaction, made: Made) -> None:
    """Raise `TooEarlyError` unless every discharger is registered as when the token was made, and counts for it."""
    for one in made.dischargers:
        if tx.discharger(one.name) != one or made.record.issued_at < one.since:
            raise TooEarlyError
    ours = {pair.public for pair in tx.box_keys() if pair.state == ACTIVE}
    if not {dependency.pair for dependency in made.dependencies} <= ours:
        raise TooEarlyError
