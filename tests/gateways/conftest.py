"""The authority in a process of its own, an application, a static site, and each gateway in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..serve.conftest import Service  # noqa: TID252 - a service is run in one way
from .application import Application, Seen
from .gateway import GATEWAYS, Answer, Gateway, Places

TRUST = 'trusted_proxies = ["127.0.0.1"]'
CONFIG = f"""
{TRUST}
forward_auth_audience = "photos"

[forward_auth_actions]
GET = "read"
HEAD = "read"
PUT = "write"
"""
SITE = {"public.txt": "for many\n", "secret/plan.txt": "for few\n", "a b.txt": "with a space\n", "é.txt": "accented\n"}


class Authority(Service):
    """The service, as gateways ask it."""

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self.address.port is not None
        return self.address.port

    def token(self, *caveats: str, **fields: object) -> str:
        """A token for what is behind the gateways."""
        return self.mint(**{"audience": "photos", "caveats": [*caveats], **fields})

    def revoke(self, **what: object) -> None:
        """Revoke, by whatever is given."""
        assert self.ask("POST", "/v1/revocations", what)[0] == 201


def make_authority(data_dir: Path, *options: object, trusted: bool = True) -> Authority:
    """A fresh service with the gateways' audience, which they may ask if they are trusted."""
    data_dir.mkdir(mode=0o700)
    (data_dir / "capsvc.toml").write_text(CONFIG if trusted else CONFIG.replace(TRUST, ""))
    service = Authority(data_dir, *options)
    assert service.ask("POST", "/v1/audiences", {"name": "photos"})[0] == 201
    return service


@dataclass
class Behind:
    """A gateway, what is behind it, and the authority that it asks."""

    gateway: Gateway
    application: Application
    authority: Authority

    def seen(self) -> list[Seen]:
        """What has reached the application since this was last asked."""
        found, self.application.seen[:] = list(self.application.seen), []
        return found

    def reached(self, *arguments: Any, **named: Any) -> Seen:
        """The request as the application saw it, which must have been allowed."""
        self.seen()
        answer = self.gateway.ask(*arguments, **named)
        assert (answer.status, answer.body) == (200, b"from the application\n"), answer
        (seen,) = self.seen()
        return seen

    def refused(self, *arguments: Any, **named: Any) -> Answer:
        """The answer to a request that must not reach the application."""
        self.seen()
        answer = self.gateway.ask(*arguments, **named)
        assert answer.status >= 400, answer
        assert self.seen() == []
        assert b"from the application" not in answer.body
        return answer


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """The service, for all tests."""
    service = make_authority(tmp_path_factory.mktemp("authority") / "data")
    yield service
    service.clear_away()


@pytest.fixture(scope="session")
def application() -> Iterator[Application]:
    """What is behind every gateway."""
    running = Application()
    yield running
    running.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static site."""
    root = tmp_path_factory.mktemp("site")
    for name, content in SITE.items():
        file = root / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


@pytest.fixture(scope="session", params=GATEWAYS)
def behind(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    application: Application,
    site: Path,
) -> Iterator[Behind]:
    """Each gateway in turn, as the examples set it up."""
    places = Places(authority.port, application.port, site)
    gateway = Gateway(request.param, tmp_path_factory.mktemp("gateway") / "run", places)
    yield Behind(gateway, application, authority)
    gateway.close()
