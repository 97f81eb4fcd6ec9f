"""OAuth's own libraries, unmodified, against a service that runs: introspection, revocation, metadata, API clients."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc6749 import MissingAuthorizationError, ResourceProtector
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from oauthlib.oauth2 import WebApplicationClient
from requests_oauthlib import OAuth2Session as Oauthlib

from capsvc.token import Token

from .conftest import Authority, Behind

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the libraries speak http, which they do to no other machine than this."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture(scope="module")
def metadata(authority: Authority) -> dict[str, Any]:
    """Where a client finds everything else."""
    answer = httpx.get(f"{authority.url}/.well-known/oauth-authorization-server")
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def secret(authority: Authority) -> str:
    """What a resource server has: a credential that may introspect for one audience, and nothing else."""
    admin = authority.credential["authorization"].removeprefix("Bearer ")
    return str(Token.parse(admin).attenuate("action = tokens:verify", "for.audience = photos"))


def _bearer(client: Any, _method: str, uri: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
    """Authlib's way to another method of authentication: a callable."""
    headers["Authorization"] = f"Bearer {client.client_secret}"
    return uri, headers, body


def _by_password(secret: str, url: str, **asked: Any) -> dict[str, Any]:
    with OAuth2Session("photos", secret) as client:
        found: dict[str, Any] = client.introspect_token(url, **asked).json()
        return found


def _by_bearer(secret: str, url: str, **asked: Any) -> dict[str, Any]:
    with OAuth2Session("photos", secret, token_endpoint_auth_method=_bearer) as client:
        found: dict[str, Any] = client.introspect_token(url, **asked).json()
        return found


@pytest.mark.parametrize("ask", [_by_password, _by_bearer])
def test_authlib_introspects(authority: Authority, metadata: dict[str, Any], secret: str, ask: Ask) -> None:
    """By Basic, which is its default, and by a callable; with its hint; for the one audience of the credential."""
    url = metadata["introspection_endpoint"]
    token = authority.token("action in read,write", subject="alice")
    found = ask(secret, url, token=token, token_type_hint="access_token")
    assert (found["active"], found["sub"], found["scope"]) == (True, "alice", "read write")
    assert (found["iss"], found["aud"], found["token_type"]) == (metadata["issuer"], "photos", "Bearer")
    assert ask(secret, url, token=authority.mint()) == {"active": False}
    assert ask("wrong", url, token=token)["error"] == "invalid_client"
    authority.revoke(token=token)
    assert ask(secret, url, token=token) == {"active": False}


class _Validator(IntrospectTokenValidator):  # type: ignore[misc] # of a library without types
    """As authlib's documentation has it, with its own client."""

    def __init__(self, url: str, secret: str) -> None:
        super().__init__()
        self._url, self._secret = url, secret

    def introspect_token(self, token_string: str) -> dict[str, Any]:
        """Ask the service."""
        with OAuth2Session("photos", self._secret) as client:
            response = client.introspect_token(self._url, token=token_string)
            response.raise_for_status()
            found: dict[str, Any] = response.json()
            return found


def test_authlib_protects_a_resource(authority: Authority, metadata: dict[str, Any], secret: str) -> None:
    """A resource server of authlib's: scopes are actions; a token that restricts no action has no scope to show."""
    protector = ResourceProtector()
    protector.register_token_validator(_Validator(metadata["introspection_endpoint"], secret))

    def ask(token: str | None, *scopes: str) -> str:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        granted = protector.validate_request(list(scopes), SimpleNamespace(headers=headers))
        return str(granted["jti"])

    reader = authority.token("action = read")
    anything = authority.token()
    assert ask(reader, "read") == ask(reader)
    assert ask(anything)
    with pytest.raises(InsufficientScopeError):
        ask(reader, "write")
    with pytest.raises(InsufficientScopeError):
        ask(anything, "read")
    for other in (authority.mint(), str(Token.parse(reader).attenuate("action = write")), "x"):
        with pytest.raises(InvalidTokenError):
            ask(other, "read")
    with pytest.raises(MissingAuthorizationError):
        ask(None, "read")
    authority.revoke(token=reader)
    with pytest.raises(InvalidTokenError):
        ask(reader, "read")


def _revoke_by_authlib(url: str, token: str) -> int:
    with OAuth2Session("app", "of no account") as client:
        return int(client.revoke_token(url, token=token, token_type_hint="access_token").status_code)


def _revoke_as_nobody(url: str, token: str) -> int:
    with OAuth2Session("app", revocation_endpoint_auth_method="none") as client:
        return int(client.revoke_token(url, token=token).status_code)


def _revoke_by_oauthlib(url: str, token: str) -> int:
    address, headers, body = WebApplicationClient("app").prepare_token_revocation_request(url, token)
    return int(requests.post(address, data=body, headers=headers, timeout=60).status_code)


@pytest.mark.parametrize("revoke", [_revoke_by_authlib, _revoke_as_nobody, _revoke_by_oauthlib])
def test_libraries_revoke(
    authority: Authority, metadata: dict[str, Any], secret: str, revoke: Callable[[str, str], int]
) -> None:
    """200 for a good token and for one that is none; that token is dead then, its parent is not."""
    url = metadata["revocation_endpoint"]
    parent = authority.token()
    token = str(Token.parse(parent).attenuate("method = GET"))
    asked = {"context.method": "GET"}

    def is_active(text: str) -> bool:
        form = {"token": text, **asked}
        answer = httpx.post(metadata["introspection_endpoint"], data=form, auth=("photos", secret)).json()
        return answer["active"] is True

    assert (is_active(parent), is_active(token)) == (True, True)
    assert [revoke(url, token), revoke(url, token), revoke(url, "x")] == [200, 200, 200]
    assert (is_active(parent), is_active(token)) == (True, False)


def test_authlib_reads_the_metadata(metadata: dict[str, Any]) -> None:
    """What is there is as RFC 8414 has it; as a whole authlib refuses it, for it wants a token endpoint."""
    document = AuthorizationServerMetadata(metadata)
    for part in (
        "issuer",
        "grant_types_supported",
        "introspection_endpoint",
        "introspection_endpoint_auth_methods_supported",
        "revocation_endpoint",
        "revocation_endpoint_auth_methods_supported",
    ):
        getattr(document, f"validate_{part}")()
    with pytest.raises(ValueError, match="token_endpoint"):
        document.validate()


def test_requests_oauthlib_presents_a_token(behind: Behind) -> None:
    """An API client of requests-oauthlib: what it is refused it is refused, and its token goes as it should."""
    url = f"http://127.0.0.1:{behind.gateway.port}/photos/1"
    token = behind.authority.token("action = read", subject="alice")
    with Oauthlib("app", token={"access_token": token, "token_type": "Bearer"}) as client:
        behind.seen()
        assert client.get(url).text == "from the application\n"
        (seen,) = behind.seen()
        assert seen.subjects == ["alice"]
        assert client.put(url).status_code == 403
        behind.authority.revoke(token=token)
        refused = client.get(url)
        assert refused.status_code == 401
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert behind.seen() == []
