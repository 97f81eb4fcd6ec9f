"""What stops a start: the exit code, one line that says what to do, and nothing lost, made or listening."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import ssl
import stat
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.config import Settings

Run = Callable[..., Any]
Serve = Callable[..., Any]

LINE = re.compile(r"capsvc: [a-z-]+: [^\n]+\n")
# Root writes where it likes; without this capability it is held to the modes of files as everybody is.
DROP_DAC_OVERRIDE = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "capsvc.cli", *sys.argv[1:]])
"""
HELD_TO_MODES = ("-c", DROP_DAC_OVERRIDE)
SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from capsvc.cli import main
main()
"""
SMALL_DISK = ("-c", SMALL_FILES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that is whole."""
    directory = tmp_path / "data"
    Authority.open(Settings(directory)).close()
    return directory


def snapshot(directory: Path) -> dict[str, bytes]:
    """Everything in it but what is kept beside a database for a while."""
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if path.is_file() and not path.name.startswith("capsvc.db-") and path.name != "serve.lock"
    }


def assert_stopped(ended: Any, exit_code: int, code: str, *words: str) -> None:
    """One line on standard error, of the form that scripts can read."""
    assert (ended.code, ended.out) == (exit_code, ""), ended.err
    assert LINE.fullmatch(ended.err), ended.err
    assert ended.err.startswith(f"capsvc: {code}: ")
    for word in words:
        assert word in ended.err


def test_control_the_directory_of_these_tests_serves(serve: Serve, data: Path) -> None:
    """The positive control of everything below."""
    assert serve(data_dir=data).ask("GET", "/readyz")[0] == 200


@pytest.mark.parametrize("command", ["serve", "init", "admin-token"])
@pytest.mark.parametrize("key", ["missing", "wrong", "short", "open"])
def test_a_master_key_that_does_not_fit(capsvc: Run, data: Path, key: str, command: str) -> None:
    """Nothing is created in its place, nothing is changed."""
    path = data / "master.key"
    match key:
        case "missing":
            path.unlink()
        case "wrong":
            path.write_bytes(bytes(32))
        case "short":
            path.write_bytes(b"short")
        case _:
            path.chmod(0o644)
    before = snapshot(data)
    code = {"missing": "master-key-missing", "wrong": "master-key-wrong"}.get(key, "master-key")
    options = ["--port", 0] if command == "serve" else []
    assert_stopped(capsvc(command, "--data-dir", data, *options), 3, code, path.name)
    assert snapshot(data) == before


def test_a_named_master_key_is_never_made(capsvc: Run, tmp_path: Path) -> None:
    """Nor anything else, when it is missing."""
    data = tmp_path / "data"
    env = {"CAPSVC_MASTER_KEY_FILE": str(tmp_path / "elsewhere.key")}
    ended = capsvc("serve", "--data-dir", data, "--port", 0, env=env)
    assert_stopped(ended, 3, "master-key-missing", "elsewhere.key")
    assert not data.exists() or list(data.iterdir()) == []


def test_a_foreign_database(capsvc: Run, data: Path) -> None:
    """Another program's is left as it is."""
    path = data / "capsvc.db"
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (name)")
    connection.close()
    before = snapshot(data)
    assert_stopped(capsvc("serve", "--data-dir", data, "--port", 0), 3, "database-foreign", path.name)
    assert snapshot(data) == before


def test_a_file_that_is_no_database(capsvc: Run, data: Path) -> None:
    """Nor is one that is no database at all."""
    path = data / "capsvc.db"
    path.write_bytes(b"no database, but long enough to look like one might" * 100)
    before = snapshot(data)
    assert_stopped(capsvc("serve", "--data-dir", data, "--port", 0), 3, "database", path.name)
    assert snapshot(data) == before


def test_a_newer_schema(capsvc: Run, data: Path) -> None:
    """A program that does not know it must not touch it."""
    path = data / "capsvc.db"
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    assert version > 0
    connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    before = snapshot(data)
    assert_stopped(capsvc("serve", "--data-dir", data, "--port", 0), 3, "database-newer", path.name)
    assert snapshot(data) == before


def test_a_missing_database_beside_a_credential(capsvc: Run, data: Path) -> None:
    """What was lost is not silently replaced by something empty."""
    (data / "capsvc.db").unlink()
    before = snapshot(data)
    assert_stopped(capsvc("serve", "--data-dir", data, "--port", 0), 3, "database", "capsvc.db")
    assert snapshot(data) == before


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "empty"])
def test_a_read_only_directory(capsvc: Run, data: Path, whole: bool) -> None:
    """Whether it is to be made or only to be used."""
    if not whole:
        for path in data.iterdir():
            path.unlink()
    for path in data.iterdir():
        path.chmod(0o400)
    data.chmod(0o500)
    before = snapshot(data)
    ended = capsvc("serve", "--data-dir", data, "--port", 0, program=HELD_TO_MODES)
    if ended.code == 77:
        pytest.skip("root cannot be held to file modes here")
    assert (ended.code, ended.out) == (3, ""), ended.err
    assert LINE.fullmatch(ended.err), ended.err
    assert data.name in ended.err
    assert snapshot(data) == before
    data.chmod(0o700)
    for path in data.iterdir():
        path.chmod(0o600)
    assert capsvc("init", "--data-dir", data).code == 0


def test_a_full_disk(capsvc: Run, tmp_path: Path) -> None:
    """What a first start could not finish, the next one does."""
    data = tmp_path / "data"
    ended = capsvc("init", "--data-dir", data, program=SMALL_DISK)
    assert (ended.code, ended.out) == (3, ""), ended.err
    assert LINE.fullmatch(ended.err), ended.err
    assert not (data / "admin.token").exists()
    assert capsvc("init", "--data-dir", data).code == 0


def test_a_data_directory_that_is_a_file(capsvc: Run, tmp_path: Path) -> None:
    """It is not replaced."""
    path = tmp_path / "data"
    path.write_text("mine")
    assert_stopped(capsvc("serve", "--data-dir", path, "--port", 0), 3, "data-dir", path.name)
    assert path.read_text() == "mine"


def test_a_data_directory_that_others_can_write(capsvc: Run, data: Path) -> None:
    """They could put a key of theirs in it."""
    data.chmod(0o777)
    assert_stopped(capsvc("serve", "--data-dir", data, "--port", 0), 3, "data-dir", data.name)


@pytest.mark.parametrize("behind", [59, 120])
def test_a_clock_that_was_set_back(capsvc: Run, serve: Serve, tmp_path: Path, behind: int) -> None:
    """Within a minute of what is recorded it serves; further back it does not."""
    data = tmp_path / "data"
    now = time.time()
    with Authority.open(Settings(data), clock=lambda: now + behind) as authority:
        authority.mint(audience="default", ttl=600)
    if behind < 60:
        assert serve(data_dir=data).ask("GET", "/readyz")[0] == 200
    else:
        assert_stopped(capsvc("serve", "--data-dir", data, "--port", 0), 3, "clock")


def test_a_declaration_that_changed(capsvc: Run, data: Path) -> None:
    """It would change what tokens out there mean: a wrong setting."""
    config = data / "capsvc.toml"
    config.write_text("[attributes.floor]\ntype = 'integer'\n")
    assert capsvc("init", "--data-dir", data).code == 0
    config.write_text("[attributes.floor]\ntype = 'word'\n")
    ended = capsvc("serve", "--data-dir", data, "--port", 0)
    assert (ended.code, ended.out) == (2, "")
    assert LINE.fullmatch(ended.err), ended.err
    assert "floor" in ended.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], ["host", "--behind-proxy", "ssl_certfile"]),  # noqa: S104 - what the test is about
        (["--host", "192.0.2.1"], ["host"]),
        (["--port", "65536"], ["--port"]),
        (["--workers", "0"], ["--workers"]),
        (["--issuer", "tokens.example"], ["--issuer"]),
        (["--ssl-keyfile", "key.pem"], ["ssl_keyfile"]),
        (["--ssl-certfile", "no-such.pem"], ["ssl_certfile"]),
        (["--config", "no-such.toml"], ["no-such.toml"]),
    ],
)
def test_wrong_settings(capsvc: Run, tmp_path: Path, options: list[str], words: list[str]) -> None:
    """Exit 2, before anything is made."""
    ended = capsvc("serve", "--data-dir", tmp_path / "data", *options)
    assert_stopped(ended, 2, "settings", *words)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"CAPSVC_PORT": "secret-marker"}, "CAPSVC_PORT"),
        ({"CAPSVC_DATABASE_URL": "postgresql://u:secret-marker@h/d"}, "CAPSVC_DATABASE_URL"),
        ({"CAPSVC_CONFIG": "no-such.toml"}, "no-such.toml"),
    ],
)
def test_wrong_variables(capsvc: Run, tmp_path: Path, env: dict[str, str], name: str) -> None:
    """They are named, their values are not repeated."""
    ended = capsvc("serve", "--data-dir", tmp_path / "data", env=env)
    assert_stopped(ended, 2, "settings", name)
    assert "secret-marker" not in ended.err


@pytest.mark.parametrize("text", ["surprise = 'secret-marker'\n", "data_dir = 'secret-marker'\n", "port = secret\n"])
def test_a_wrong_file(capsvc: Run, data: Path, text: str) -> None:
    """An unknown key, a data directory named inside itself, what is no TOML."""
    (data / "capsvc.toml").write_text(text)
    ended = capsvc("serve", "--data-dir", data, "--port", 0)
    assert_stopped(ended, 2, "settings", "capsvc.toml")
    assert "secret" not in ended.err


@pytest.mark.parametrize("arguments", [["serve", "extra"], ["serve", "--port", "x"], ["serve", "--no-such"]])
def test_wrong_usage(capsvc: Run, arguments: list[str]) -> None:
    """As everywhere on the command line."""
    assert_stopped(capsvc(*arguments), 2, "usage")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateways_audience_that_is_not_there(serve: Serve, data: Path, workers: int) -> None:
    """It may be added later, so it stops no start; one line says so, however many workers there are."""
    (data / "capsvc.toml").write_text("forward_auth_audience = 'photos'\n")
    service = serve("--workers", workers, data_dir=data)
    status, _, _ = service.ask("POST", "/v1/audiences", {"name": "photos"})
    (line,) = [line for line in service.err().splitlines() if "photos" in line]
    assert (status, " WARNING forward_auth_audience: there is no audience photos yet; " in line) == (201, True)
    service.end()
    service = serve("--workers", workers, data_dir=data)
    assert "forward_auth_audience" not in service.err()


def test_administrators_credentials_are_no_gateways(capsvc: Run, data: Path) -> None:
    """Their audience cannot be the one of a gateway's requests."""
    (data / "capsvc.toml").write_text("forward_auth_audience = 'capsvc'\n")
    ended = capsvc("serve", "--data-dir", data, "--port", 0)
    assert_stopped(ended, 2, "settings", "forward_auth_audience", "capsvc.toml", "administrators")


def test_lax_files_are_made_private(capsvc: Run, data: Path) -> None:
    """All but the master key, which somebody may have read already."""
    for name in ("capsvc.db", "admin.token"):
        (data / name).chmod(0o644)
    assert capsvc("init", "--data-dir", data).code == 0
    for name in ("capsvc.db", "admin.token"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600


def test_tls(serve: Serve, tmp_path: Path) -> None:
    """With a certificate it listens on any address, and the address in `serve.url` says https."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    options = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([openssl, *options, *names], cwd=tmp_path, check=True, capture_output=True)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    service = serve("--host", "0.0.0.0", "--ssl-certfile", certificate, "--ssl-keyfile", key)  # noqa: S104
    assert service.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(service.url + "/healthz", context=context) as response:  # noqa: S310
        assert json.load(response) == {"status": "ok"}
