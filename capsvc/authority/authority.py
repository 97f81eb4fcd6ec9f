"""The service without HTTP: what the HTTP layer, the command line and an embedding program all call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from capsvc.authority.administration import Administration, minter_of
from capsvc.authority.credential import Credential, RequestContexts
from capsvc.authority.decision import ADMINISTRATORS, Decider, with_prefix
from capsvc.authority.declarations import declare, declared_anew
from capsvc.authority.exchanging import Exchanging
from capsvc.authority.feed import LIMIT, Covers, Feed, everything
from capsvc.authority.installation import admin_token_path, open_installation
from capsvc.authority.introspecting import introspect
from capsvc.authority.listing import Listing
from capsvc.authority.minting import Minting, check_request, check_subject
from capsvc.authority.mintqueue import MintQueue
from capsvc.authority.office import Clock, as_request_error, can_exist
from capsvc.authority.presented import Presented
from capsvc.authority.revoking import Revoking
from capsvc.authority.seal import MasterKey, SealError
from capsvc.authority.sweeping import sweep
from capsvc.authority.view import View
from capsvc.config import Settings
from capsvc.decision.instants import seconds_of
from capsvc.errors import Denied, RequestError, StartError
from capsvc.grants import Fact, FeedPage, Grant, Introspection, Minted, Revocation, TokenRow, TokenTarget
from capsvc.secretfiles import write_new_secret
from capsvc.store.protocol import Store, StoreUnavailable, Transaction
from capsvc.store.records import Minter, TokenFilter

__all__ = ["Authority"]

ADMIN_TTL: Final = 90 * 86_400  # seconds
CLOCK_SLACK: Final = 60  # seconds that the clock may lie behind what is recorded
EMPTY: Final[Mapping[str, object]] = {}


def _watermark(before: object) -> int:
    try:
        if isinstance(before, datetime):
            return seconds_of(before)
    except ValueError:
        pass
    raise RequestError("bad-request", "before is a datetime with a time zone.")


class Authority(Administration):
    """Mints, decides, revokes. Synchronous, safe to use from several threads, and a context manager.

    Made by `Authority.open`. Whoever embeds it holds the master key in the process.
    """

    def __init__(self, settings: Settings, clock: Clock, store: Store, master: MasterKey) -> None:
        """Not for callers: see `open`."""
        super().__init__(settings, clock, store, master)
        self._decider = Decider(self._follower.view, self._follower.kept)
        minting = Minting(master, self._audit, settings.issuer_url)
        self._mints = MintQueue(store, minting, self._follower.view, self._now)
        self._exchanging = Exchanging(self._audit, settings.issuer_url)
        self._revoking = Revoking(master, self._audit)
        self._requests = RequestContexts()
        self._listing = Listing(store, self._follower.view, self._now)
        self._feed = Feed(store)

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock = time.time, make: bool = True) -> Self:
        """Open the data directory, and make what of it is missing unless ``make`` is false.

        ``clock`` gives Unix seconds. Raises `StartError`: ``.exit_code`` 3 for storage that cannot be used, 2 for an
        attribute that was declared otherwise before.
        """
        now = int(clock())
        store, master = open_installation(settings, now, make=make)
        try:
            authority = cls(settings, clock, store, master)
            authority._declare(now)
            if make:
                authority._make_admin_token()
        except (StoreUnavailable, SealError, RequestError) as error:
            store.close()
            raise StartError("database", f"{settings.database_path}: cannot be used ({error})") from error
        except BaseException:
            store.close()
            raise
        return authority

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Authority {self.issuer}>"

    def close(self) -> None:
        """Finish what is under way and let go of the database; idempotent."""
        self._store.close()

    # Tokens.

    def mint(
        self,
        *,
        audience: str,
        ttl: int | None = None,
        expires_at: datetime | None = None,
        subject: str | None = None,
        facts: Mapping[str, Fact] | None = None,
        caveats: Sequence[str] = (),
        third_party: Sequence[Mapping[str, object]] = (),
        label: str | None = None,
        credential: Credential | None = None,
    ) -> Minted:
        """Mint a root token that lives for ``ttl`` seconds or until ``expires_at`` (aware; rounded down to a second).

        Raises:
            CaveatError: for a caveat, a subject or a fact.
            RequestError: ``forbidden`` ``audience-unknown`` ``bad-request`` ``ttl-invalid`` ``ttl-too-long``
                ``discharger-unknown`` ``too-large`` ``unavailable``.

        """
        return self.submit_mint(
            audience=audience,
            ttl=ttl,
            expires_at=expires_at,
            subject=subject,
            facts=facts,
            caveats=caveats,
            third_party=third_party,
            label=label,
            credential=credential,
        ).result()

    def submit_mint(
        self,
        *,
        audience: str,
        ttl: int | None = None,
        expires_at: datetime | None = None,
        subject: str | None = None,
        facts: Mapping[str, Fact] | None = None,
        caveats: Sequence[str] = (),
        third_party: Sequence[Mapping[str, object]] = (),
        label: str | None = None,
        credential: Credential | None = None,
    ) -> Future[Minted]:
        """Begin a `mint`: what is wrong with the request is raised at once, the future resolves when it is durable.

        Mints that are under way at once share a commit.
        """
        request = check_request(
            self._view(),
            self._now(),
            audience=audience,
            ttl=ttl,
            expires_at=expires_at,
            subject=subject,
            facts=facts,
            caveats=caveats,
            third_party=third_party,
            label=label,
            minter=minter_of(credential),
            administrative=False,
        )
        return self._mints.submit(request)

    def admin_token(self) -> str:
        """Mint a fresh administrator's credential for 90 days, with every permission.

        This is the one way to one, for whoever has the data directory. It rotates the key if none is active.
        """
        self._run(self._with_active_key)
        view = self._view()
        request = check_request(
            view,
            self._now(),
            audience=ADMINISTRATORS,
            ttl=min(ADMIN_TTL, view.audiences[ADMINISTRATORS].max_ttl),
            expires_at=None,
            subject=None,
            facts=None,
            caveats=(),
            third_party=(),
            label="administrator",
            minter=None,
            administrative=True,
        )
        return self._mints.submit(request).result().token

    def authorize(
        self,
        bundle: str,
        *,
        audience: str,
        context: Mapping[str, object] | None = None,
        explain: bool = False,
        prefix: bool = False,
    ) -> Grant:
        """Decide whether a token allows a request; return the grant or raise `Denied`.

        ``context`` holds the request's values by attribute. With ``explain`` the answer, or the denial, tells the
        verdict of every caveat; with ``prefix`` the grant holds what a prefix verifier needs.
        """
        presented, ruling = self._decider.decide(
            bundle, audience, EMPTY if context is None else context, self._clock(), explain=explain
        )
        return with_prefix(ruling.grant, presented) if prefix else ruling.grant

    def introspect(
        self,
        token: str,
        *,
        audience: str | None = None,
        context: Mapping[str, object] | None = None,
        credential: Credential | None = None,
    ) -> Introspection:
        """Tell what a token is good for (RFC 7662); it is active if `authorize` would allow the request.

        But caveats on ``action`` alone need no value in ``context``: what they leave is the answer's ``scope``. Without
        ``audience`` it is the one that the credential is bounded to, else ``default``. A token that the credential does
        not cover is not active. Raises `RequestError` ``unavailable``.
        """
        return introspect(
            self._decider,
            self.issuer,
            token,
            audience=audience,
            context=EMPTY if context is None else context,
            credential=credential,
            now=self._clock(),
        )

    def authenticate(self, bundle: str, *, context: Mapping[str, object]) -> Credential:
        """Decide about an administrator's credential, but for its ``for.…`` caveats; raise `Denied`."""
        asked = self._requests.read(context)
        return Credential(*self._decider.decide(bundle, ADMINISTRATORS, asked, self._clock(), deferring=True))

    def target_of(self, token: str) -> TokenTarget:
        """Return what a token says of itself once its MAC is right (steps 1 and 2).

        Raises `RequestError` with the code of the step that failed.
        """
        presented, view = self._presented(token)
        reading = self._decider.reading_of(presented, view)
        facts = {name: value for name, value in reading.facts.items() if name != "sub"}
        return TokenTarget(presented.identifier.tid, presented.key.audience, reading.subject, facts)

    def token(self, id: str) -> TokenRow | None:
        """Return the row of a token. Raises `RequestError` ``unavailable``."""
        with as_request_error():
            return self._listing.token(id) if can_exist(id) else None

    def tokens(
        self,
        *,
        audience: str | None = None,
        subject: str | None = None,
        minted_by: str | None = None,
        branch: bytes | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> tuple[list[TokenRow], int | None]:
        """Return rows, oldest first, and the ``after`` of the next page or None.

        ``minted_by`` and ``branch`` (32 octets) are those of the credential that minted. Raises `RequestError`
        ``unavailable``.
        """
        if not can_exist(audience, subject, minted_by):
            return [], None
        with as_request_error():
            return self._listing.tokens(TokenFilter(audience, subject, minted_by, branch), after, limit)

    def exchange(self, bundle: str, *, credential: Credential | None = None) -> Minted:
        """Exchange a discharged bundle for a token without third-party caveats, for services that verify by themselves.

        Nothing that restricts the bundle is lost. Revoking the bundle's root, or anything that it was made from or
        depends on, revokes the token and what comes of it.

        Raises:
            Denied: the bundle is not good; ``invalid-token`` also where the credential does not cover it, ``too-large``
                where the token would be past a bound.
            RequestError: ``forbidden`` for the audience ``capsvc``, ``unavailable``.

        """
        presented, view = self._decider.presenter.present(bundle)
        now = self._clock()
        if credential is not None:
            try:
                credential.permits(self._decider.target(presented, view, now))
            except Denied:
                raise Denied("invalid-token") from None
        if presented.key.audience == ADMINISTRATORS:
            raise RequestError("forbidden", "A credential of the service itself is not exchanged.")
        source = self._decider.source(presented, view, now)
        token, record = self._exchanging.make(source, minter_of(credential))
        return self._run(lambda tx, at: self._exchanging.write(tx, source, token, record, at))

    # Revocation.

    def revoke(
        self,
        *,
        token: str | None = None,
        id: str | None = None,
        key: str | None = None,
        audience: str | None = None,
        subject: str | None = None,
        before: datetime | None = None,
        credential: Credential | None = None,
    ) -> Revocation:
        """Revoke by exactly one of: a token (its branch), a token id, a key id, audience and subject.

        It is in force, for every process on the database, when this returns. ``before`` (aware) is the issue time up to
        which a subject's tokens die, by default all minted so far.

        Raises `RequestError`: ``bad-request`` ``not-found`` ``audience-unknown`` ``unavailable``, or the code of step 1
        or 2 for the token; `CaveatError` for a subject that is no word.
        """
        minter = minter_of(credential)
        ways = [token is not None, id is not None, key is not None, audience is not None or subject is not None]
        if ways.count(True) != 1 or (before is not None and subject is None):
            raise RequestError("bad-request", "Revoke by one of token, id, key, or audience and subject.")
        if token is not None:
            presented, _ = self._presented(token)
            return self._run(lambda tx, now: self._revoking.token(tx, presented, now, minter, by_holder=False))
        if not can_exist(id, key):
            raise RequestError("not-found")
        if id is not None:
            return self._run(lambda tx, now: self._revoking.id(tx, id, now, minter))
        if key is not None:
            return self._run(lambda tx, now: self._revoking.key(tx, key, now, minter))
        return self._revoke_subject(audience, subject, before, minter)

    def revoke_presented(self, token: str) -> None:
        """Revoke the branch of a token that somebody holds; say nothing of it (RFC 7009).

        What is no token of ours is passed over. Raises `RequestError` ``unavailable``: storage, or too many branches.
        """
        try:
            presented, _ = self._presented(token)
        except RequestError as error:
            if error.code == "unavailable":
                raise
            return
        self._run(lambda tx, now: self._revoking.token(tx, presented, now, None, by_holder=True))

    # What others follow, who decide elsewhere.

    def feed(self, *, after: str | None = None, limit: int = LIMIT, covers: Covers = everything) -> FeedPage:
        """Return what was revoked or changed, in the order of the commits, at most ``limit`` entries.

        ``after`` is the ``cursor`` of a page, None for the oldest entry kept, or ``"now"``. Entries of an audience that
        is not covered are left out, so that a page may hold none though there is more.

        Raises `RequestError`: ``cursor-gone`` where entries after that cursor may be missing, and for what is no cursor
        of this database; ``unavailable``.
        """
        with as_request_error():
            return self._feed.page(after, limit, covers)

    def generation(self) -> int:
        """Return a number that differs from before if anybody has written since, in whatever process; microseconds.

        Raises `RequestError` ``unavailable``.
        """
        with as_request_error():
            return self._store.generation()

    # The installation.

    def usable_for(self, token: str, seconds: int) -> bool:
        """Whether an administrator's credential is good now and will not have expired in that many seconds."""
        now = int(self._clock())
        try:
            _, ruling = self._decider.decide(token, ADMINISTRATORS, EMPTY, now)
        except Denied:
            return False
        return seconds_of(ruling.grant.expires_at) > now + seconds

    def check_clock(self) -> None:
        """Raise `StartError` if the clock lies behind what has been recorded already."""
        recorded = self._store.last_recorded_at()
        if recorded is not None and recorded > self._clock() + CLOCK_SLACK:
            raise StartError(
                "clock", f"the clock is {recorded - int(self._clock())} s behind the database; set it right"
            )

    def sweep(self) -> int:
        """Forget what expired over seven days ago; return how many rows went. Raises `RequestError` ``unavailable``."""
        with as_request_error():
            return sweep(self._store, self._now())

    def verify_audit(self) -> int:
        """Prove the audit from its first line; return how many there are. Raises `StartError` at an altered one."""
        try:
            return self._audit.verify(self._store.audit())
        except (SealError, StoreUnavailable) as error:
            raise StartError("audit", str(error)) from error

    # Inside.

    def _presented(self, token: str) -> tuple[Presented, View]:
        try:
            return self._decider.presenter.present(token)
        except Denied as denied:
            raise RequestError(denied.code) from None

    def _revoke_subject(
        self, audience: str | None, subject: str | None, before: datetime | None, minter: Minter | None
    ) -> Revocation:
        if audience is None or subject is None:
            raise RequestError("bad-request", "Revocation by subject needs audience and subject.")
        who = (audience, check_subject(subject))
        until = None if before is None else _watermark(before)
        return self._run(lambda tx, now: self._revoking.subject(tx, who, until, now, minter))

    def _with_active_key(self, tx: Transaction, now: int) -> None:
        if tx.active_kid(ADMINISTRATORS) is None:
            self._keeping.rotate(tx, ADMINISTRATORS, now, None)

    def _declare(self, now: int) -> None:
        declared = self._settings.attributes
        if declared_anew(self._follower.view().vocabulary, declared):
            self._store.write(lambda tx: declare(tx, declared, now)).result()

    def _make_admin_token(self) -> None:
        path = admin_token_path(self._settings)
        if not path.exists() and not write_new_secret(path, self.admin_token().encode() + b"\n") and not path.exists():
            raise StartError("data-dir", f"{path}: is a link to nothing; remove it")
