"""What a running service does in its data directory, without a process around it."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from capsvc import secretfiles
from capsvc.authority import Authority
from capsvc.config import Settings, SettingsError
from capsvc.errors import StartError
from capsvc.http import upkeep
from capsvc.http.listening import bind
from capsvc.http.server import check

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
DAY = 86_400


class Clock:
    """A clock that is set."""

    now = NOON

    def __call__(self) -> int:
        """Unix seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At noon."""
    return Clock()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> Iterator[Authority]:
    """A whole data directory in ``data``."""
    with Authority.open(Settings(tmp_path / "data"), clock=clock) as opened:
        yield opened


@pytest.mark.parametrize(("seconds", "replaced"), [(-1, False), (0, True), (1, True)])
def test_admin_token_is_replaced_when_it_would_not_verify_for_thirty_more_days(
    authority: Authority, clock: Clock, tmp_path: Path, seconds: int, replaced: bool
) -> None:
    """It lasts 90; at exactly 60 it has 30 left and would fail at their end."""
    path = tmp_path / "data" / "admin.token"
    before = path.read_text()
    clock.now = NOON + 60 * DAY + seconds
    assert upkeep.keep_admin_token(authority, tmp_path / "data") is replaced
    assert (path.read_text() != before) is replaced
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert authority.usable_for(path.read_text().strip(), 30 * DAY)
    assert upkeep.keep_admin_token(authority, tmp_path / "data") is False


def test_admin_token_whose_id_was_revoked_is_replaced(authority: Authority, clock: Clock, tmp_path: Path) -> None:
    """It will never verify again."""
    path = tmp_path / "data" / "admin.token"
    authority.revoke(token=path.read_text().strip())
    assert upkeep.keep_admin_token(authority, tmp_path / "data") is True
    assert authority.usable_for(path.read_text().strip(), 30 * DAY)


def test_a_link_in_its_place_is_not_followed(authority: Authority, tmp_path: Path) -> None:
    """What it leads to keeps its content."""
    path, target = tmp_path / "data" / "admin.token", tmp_path / "target"
    target.write_text("mine")
    path.unlink()
    path.symlink_to(target)
    assert upkeep.keep_admin_token(authority, tmp_path / "data") is True
    assert target.read_text() == "mine"
    assert not path.is_symlink()


def test_a_replacement_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """And nothing beside it."""
    missing = tmp_path / "none" / "serve.url"
    with pytest.raises(StartError, match="cannot be written") as caught:
        secretfiles.replace_secret(missing, b"x")
    assert (caught.value.code, caught.value.exit_code) == ("data-dir", 3)


def test_the_lock_is_one_a_directory(tmp_path: Path) -> None:
    """Held while it is held, free afterwards, and no link is followed."""
    with upkeep.locked(tmp_path), pytest.raises(StartError) as caught, upkeep.locked(tmp_path):
        pytest.fail("two hold it")
    assert (caught.value.code, caught.value.exit_code) == ("in-use", 3)
    with upkeep.locked(tmp_path):
        pass
    (tmp_path / "serve.lock").unlink()
    (tmp_path / "serve.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="cannot be written"), upkeep.locked(tmp_path):
        pytest.fail("it followed a link")
    assert not (tmp_path / "elsewhere").exists()


def test_the_address_is_there_while_the_service_is(tmp_path: Path) -> None:
    """Removed at the end, also if somebody removed it before."""
    path = tmp_path / "serve.url"
    with upkeep.published(tmp_path, "http://127.0.0.1:1"):
        assert path.read_text() == "http://127.0.0.1:1\n"
    assert not path.exists()
    with upkeep.published(tmp_path, "http://127.0.0.1:1"):
        path.unlink()


def test_upkeep_sweeps_and_goes_on_after_a_failure(
    authority: Authority, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What expired long ago is forgotten, and a bad hour is not the last one."""
    old = authority.mint(audience="default", ttl=60)
    (tmp_path / "data" / "admin.token").unlink()
    clock.now = NOON + 8 * DAY
    monkeypatch.setattr(upkeep, "HOUR_SECONDS", 0.01)
    tries: list[int] = []
    gone = threading.Event()

    def opened() -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise StartError("database", "busy")
        if authority.token(old.id) is None and (tmp_path / "data" / "admin.token").exists():
            gone.set()
        return nullcontext(authority)

    with upkeep.kept_up(tmp_path / "data", opened):
        assert gone.wait(60)


def test_binding_every_address_of_a_name() -> None:
    """All on one port, free or given."""
    sockets = bind("localhost", 0)
    try:
        assert len({item.getsockname()[1] for item in sockets}) == 1
        with pytest.raises(StartError) as caught:
            bind("localhost", sockets[0].getsockname()[1])
        assert (caught.value.code, caught.value.exit_code) == ("port-in-use", 3)
    finally:
        for item in sockets:
            item.close()
    assert not any(item.fileno() >= 0 for item in sockets)


def test_ports_that_are_not_ours_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission is a matter of the address, not of another program."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(StartError, match="Permission denied") as caught:
        bind("127.0.0.1", 80)
    assert (caught.value.code, caught.value.exit_code) == ("address", 3)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_tls(tmp_path: Path, host: str) -> None:
    """Nobody else is on the way."""
    check(Settings(tmp_path, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "tokens.example", "127.1", "localhost.example"])  # noqa: S104
def test_other_addresses_need_it_or_a_proxy(tmp_path: Path, host: str) -> None:
    """Unless somebody says that a proxy ends it."""
    check(Settings(tmp_path, host=host, behind_proxy=True))
    with pytest.raises(SettingsError, match="--behind-proxy"):
        check(Settings(tmp_path, host=host))


def test_a_certificate_is_tried_before_anything_listens(tmp_path: Path) -> None:
    """One that is missing, one that is none: a wrong setting, whose content is not shown."""
    path = tmp_path / "cert.pem"
    for content in (None, "secret-marker"):
        if content:
            path.write_text(content)
        with pytest.raises(SettingsError, match="ssl_certfile") as caught:
            check(Settings(tmp_path, ssl_certfile=path))
        assert "secret-marker" not in str(caught.value)


def test_a_draft_of_a_killed_renewal_is_removed(tmp_path: Path) -> None:
    """It may hold a good credential; other files stay."""
    draft, other = tmp_path / ".admin.token.0123456789abcdef", tmp_path / ".admin.token.kept"
    for path in (draft, other):
        path.write_text("a credential")
    with upkeep.locked(tmp_path):
        assert not draft.exists()
        assert other.exists()
