"""What the README shows of gateways is what the examples have, and protects a plain static site as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capsvc import Token

from ..gateways.gateway import GATEWAYS, Gateway, Places, free_port, snippet  # noqa: TID252 - gateways run in one way
from ..serve.conftest import Service  # noqa: TID252 - and so does the service
from .running import EXAMPLES

if TYPE_CHECKING:
    from tests.docs.conftest import Readme


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_readme_shows_the_examples(readme: Readme, name: str) -> None:
    """Octet for octet: the tests of gateways run what stands there."""
    (block,) = readme.of(name)
    assert block.text == snippet(name)
    assert {path.name for path in (EXAMPLES / "gateways").iterdir()} == set(GATEWAYS.values())


@pytest.fixture(scope="module")
def authority(readme: Readme, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, with the README's own settings for gateways."""
    data = tmp_path_factory.mktemp("authority") / "data"
    data.mkdir(mode=0o700)
    (settings,) = [block.text for block in readme.of("toml") if "trusted_proxies" in block.text]
    (data / "capsvc.toml").write_text(settings)
    service = Service(data)
    assert service.ask("POST", "/v1/audiences", {"name": "site"})[0] == 201
    yield service
    service.clear_away()


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_static_site(readme: Readme, authority: Service, tmp_path: Path, name: str) -> None:
    """Its files are for whoever has a token for their path, and for nobody any more once that is revoked."""
    files = tmp_path / "site" / "files"
    files.mkdir(parents=True)
    for city in ("oslo", "rome"):
        (files / f"{city}.txt").write_text(f"{city}\n")
    assert authority.address.port is not None
    places = Places(authority.address.port, free_port(), tmp_path / "site")
    (block,) = readme.of(name)
    gateway = Gateway(name, tmp_path / "run", places, block.text)
    try:
        token = authority.mint(audience="site", caveats=["action = read"])
        oslo = str(Token.parse(token).attenuate("path = /files/oslo.txt"))
        assert gateway.ask("/files/oslo.txt").status == 401
        answer = gateway.ask("/files/oslo.txt", token=oslo)
        assert (answer.status, answer.body) == (200, b"oslo\n")
        assert gateway.ask("/files/rome.txt", token=oslo).status == 403
        assert gateway.ask("/files/rome.txt", token=token).status == 200
        assert gateway.ask("/files/oslo.txt", token=token, method="PUT").status == 403
        assert authority.ask("POST", "/v1/revocations", {"token": token})[0] == 201
        assert gateway.ask("/files/oslo.txt", token=oslo).status == 401
    finally:
        gateway.close()


@pytest.mark.parametrize("name", GATEWAYS)
def test_an_authority_that_is_down(readme: Readme, tmp_path: Path, name: str) -> None:
    """Each gateway says so with the status that the README names."""
    gateway = Gateway(name, tmp_path / "run", Places(free_port(), free_port(), tmp_path))
    try:
        status = gateway.ask("/files/oslo.txt", token="AgEE").status
    finally:
        gateway.close()
    assert status == {"nginx": 500, "caddy": 502}[name]
    text = " ".join(readme.section("Protect an API").split())
    said = {
        "nginx": "of 503, and of an authority that is down, it makes 500",
        "caddy": "Caddy passes on what the authority answers, 503 too, and says 502 when it is down",
    }
    assert said[name] in text
