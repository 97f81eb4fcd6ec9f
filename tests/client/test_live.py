"""Both clients against a real service: what they give is what `Authority` gives."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.client import AsyncClient, Client, Denied, ServiceError
from capsvc.token import Token

from ..cli.conftest import Live, live  # noqa: TID252 - the same service

__all__ = ["live"]

Story = Callable[[Callable[..., Any]], Any]


class _Calls:
    """One way of calling either client."""

    def __init__(self, service: Live, *, asynchronous: bool) -> None:
        self._url = service.url
        self._credential = (service.data / "admin.token").read_text()
        self._asynchronous = asynchronous

    def __call__(self, name: str, *arguments: Any, **named: Any) -> Any:
        if not self._asynchronous:
            with Client(self._url, self._credential) as client:
                return getattr(client, name)(*arguments, **named)

        async def run() -> Any:
            async with AsyncClient(self._url, self._credential) as client:
                return await getattr(client, name)(*arguments, **named)

        return asyncio.run(run())


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def call(request: pytest.FixtureRequest, live: Live) -> _Calls:
    """Calls a method of one of the two clients."""
    return _Calls(live, asynchronous=request.param)


def test_exchange(call: _Calls) -> None:
    """A token is exchanged, and what is refused is `Denied`; both die together."""
    source = call("mint", audience="default", ttl=600, subject="eve", caveats=["action in read,write"])
    narrow = str(Token.parse(source.token).attenuate("action = read"))
    made = call("exchange", narrow)
    assert (made.subject, made.expires_at, made.caveats) == (
        "eve",
        source.expires_at,
        (*source.caveats, "action = read"),
    )
    assert made.id != source.id
    assert call("authorize", made.token, audience="default", context={"action": "read"}).id == made.id
    call("revoke", token=narrow)
    with pytest.raises(Denied, match="revoked"):
        call("authorize", made.token, audience="default", context={"action": "read"})
    with pytest.raises(Denied) as caught:
        call("exchange", narrow)
    assert (caught.value.code, caught.value.caveat) == ("revoked", None)
    with pytest.raises(Denied) as caught:
        call("exchange", str(Token.parse(source.token).attenuate("sub = adam")))
    assert (caught.value.code, caught.value.caveat) == ("caveat-refused", "sub = adam")


def test_mint_authorize_revoke(call: _Calls) -> None:
    """A token is minted, allowed, narrowed, refused and revoked; every value is of its own type."""
    minted = call(
        "mint", audience="default", ttl=600, subject="alice", facts={"tenant": "acme"}, caveats=["floor in 1,2"]
    )
    assert (minted.subject, dict(minted.facts)) == ("alice", {"tenant": "acme"})
    assert (minted.expires_at - minted.issued_at).total_seconds() == 600
    grant = call("authorize", minted.token, audience="default", context={"floor": 1}, explain=True)
    assert (grant.id, grant.caveats, grant.expires_at) == (minted.id, minted.caveats, minted.expires_at)
    assert [verdict.verdict for verdict in grant.verdicts] == ["satisfied"] * 4
    narrow = str(Token.parse(minted.token).attenuate("floor = 1"))
    with pytest.raises(Denied) as caught:
        call("authorize", narrow, audience="default", context={"floor": 2}, explain=True)
    assert (caught.value.code, caught.value.caveat) == ("caveat-refused", "floor = 1")
    assert caught.value.verdicts[-1].source == "holder"
    first = call("revoke", token=narrow)
    assert (first.kind, first.repeated) == ("branch", False)
    assert call("revoke", token=narrow).repeated is True
    with pytest.raises(Denied, match="revoked"):
        call("authorize", narrow, audience="default", context={"floor": 1})
    assert call("authorize", minted.token, audience="default", context={"floor": 1}).id == minted.id
    assert call("revoke", audience="default", subject="alice", before=minted.issued_at).kind == "subject"


@pytest.mark.parametrize(
    ("name", "named", "status", "code"),
    [
        ("mint", {"audience": "default"}, 400, "bad-request"),
        ("mint", {"audience": "default", "ttl": True}, 400, "bad-request"),
        ("mint", {"audience": "default", "ttl": 0}, 422, "ttl-invalid"),
        ("mint", {"audience": "nosuch", "ttl": 1}, 422, "audience-unknown"),
        ("mint", {"audience": "capsvc", "ttl": 1}, 403, "forbidden"),
        ("mint", {"audience": "default", "ttl": 1, "caveats": ["floor == 1"]}, 422, "caveat-malformed"),
        ("mint", {"audience": "default", "ttl": 1, "third_party": [{"location": "https://a", "condition": "b"}]},
         422, "discharger-unknown"),
        ("authorize", {"bundle": "AgEE", "audience": "nosuch"}, 422, "audience-unknown"),
        ("exchange", {"bundle": 5}, 400, "bad-request"),
        ("revoke", {}, 400, "bad-request"),
        ("revoke", {"id": "a", "key": "b"}, 400, "bad-request"),
        ("revoke", {"id": "A" * 22}, 404, "not-found"),
    ],
)  # fmt: skip
def test_refusals(call: _Calls, name: str, named: dict[str, Any], status: int, code: str) -> None:
    """What the service refuses is a `ServiceError` with its status and code."""
    with pytest.raises(ServiceError) as caught:
        call(name, **named)
    assert (caught.value.status, caught.value.code) == (status, code)


def test_a_credential_of_nobody(live: Live) -> None:
    """A credential that the service did not make is a `ServiceError`, and no denial of the token asked about."""
    with Client(live.url, "AgEE") as client, pytest.raises(ServiceError) as caught:
        client.authorize("AgEE", audience="default")
    assert (caught.value.status, caught.value.code) == (401, "malformed")


@pytest.mark.parametrize("name", ["mint", "authorize", "exchange", "introspect", "revoke"])
def test_parameters_are_the_authority_s(name: str) -> None:
    """The clients take what `Authority` takes, but for the credential, which they were made with."""
    theirs = inspect.signature(getattr(Authority, name)).parameters.values()
    ours = inspect.signature(getattr(Client, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [
        (p.name, p.kind, p.default) for p in theirs if p.name != "credential"
    ]
