"""What the README says of backups: the copy is whole, forgets what came later, and what it forgot can be made good."""

from __future__ import annotations

import ast
import shlex
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capsvc import Authority, Denied, Settings

if TYPE_CHECKING:
    from tests.docs.conftest import Readme


def _statement(readme: Readme) -> tuple[str, str]:
    """The SQL of the README's command, and the name of the copy that it makes."""
    (command,) = [block.text for block in readme.of("sh") if "VACUUM" in block.text]
    program = ast.parse(shlex.split(command)[2])
    calls = [node for node in ast.walk(program) if isinstance(node, ast.Call) and len(node.args) == 2]
    (sql, names) = (ast.literal_eval(argument) for argument in calls[0].args)
    return sql, names[0]


def _copy_while_open(settings: Settings, readme: Readme, where: Path) -> Path:
    sql, name = _statement(readme)
    connection = sqlite3.connect(settings.database_path)
    try:
        connection.execute(sql, [str(where / name)])
    finally:
        connection.close()
    return where / name


def _put_back(settings: Settings, copy: Path) -> None:
    for file in settings.data_dir.glob("capsvc.db*"):
        file.unlink()
    shutil.copyfile(copy, settings.database_path)
    settings.database_path.chmod(0o600)


def test_a_copy_put_back_forgets_and_can_be_made_good(readme: Readme, tmp_path: Path) -> None:
    """A token revoked after the copy is good again; once keys are rotated and the older ones revoked it is not."""
    settings = Settings(data_dir=tmp_path / "data")
    with Authority.open(settings) as authority:
        token = authority.mint(audience="default", ttl=600).token
        copy = _copy_while_open(settings, readme, tmp_path)
        authority.revoke(token=token)
        with pytest.raises(Denied, match="revoked"):
            authority.authorize(token, audience="default")

    _put_back(settings, copy)
    with Authority.open(settings) as authority:
        assert authority.authorize(token, audience="default").audience == "default"
        assert authority.verify_audit() == 3  # made, the administrator's token, the token: the revocation has gone
        for audience in ("default", "capsvc"):
            fresh = authority.rotate_key(audience)
            for key in authority.keys(audience):
                if key.kid != fresh.kid:
                    authority.revoke(key=key.kid)
        with pytest.raises(Denied) as denied:
            authority.authorize(token, audience="default")
        assert denied.value.code == "revoked"
        assert not authority.usable_for((settings.data_dir / "admin.token").read_text().strip(), 0)
        assert authority.authorize(authority.mint(audience="default", ttl=60).token, audience="default")


def test_without_the_master_key_the_copy_is_worth_nothing(readme: Readme, tmp_path: Path) -> None:
    """The copy opens beside its own master key, and beside no other."""
    settings = Settings(data_dir=tmp_path / "data")
    with Authority.open(settings):
        copy = _copy_while_open(settings, readme, tmp_path)
    other = Settings(data_dir=tmp_path / "other")
    with Authority.open(other):
        pass
    _put_back(settings, copy)
    with Authority.open(settings) as authority:
        assert authority.audience("default") is not None
    _put_back(other, copy)
    with pytest.raises(Exception, match="is not the master key") as refused:
        Authority.open(other)
    assert getattr(refused.value, "code", None) == "master-key-wrong"
