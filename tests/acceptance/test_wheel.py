"""The wheel, installed where the source tree is not, is the whole product."""

from __future__ import annotations

import importlib.metadata
import shutil
import site
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..required import missing  # noqa: TID252 - what all folders share

if TYPE_CHECKING:
    from tests.acceptance.conftest import Running

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what belongs to it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("caveats", "capsvc"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, source / name)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", source / "dist", source],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode != 0 and ("setuptools" in done.stderr or "No module named pip" in done.stderr):
        missing(f"building needs pip and a setuptools that it can fetch: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stderr
    (built,) = (source / "dist").glob("capsvc-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; what it depends on is taken from the one that runs the tests."""
    where = tmp_path_factory.mktemp("fresh")
    venv.create(where / "env", symlinks=True, with_pip=False)
    python = where / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, wheel], check=True, timeout=PATIENCE, capture_output=True)
    packages = next((where / "env" / "lib").glob("python*/site-packages"))
    places = [*site.getsitepackages(), *(path for path in sys.path if path.endswith("site-packages"))]
    (packages / "dependencies.pth").write_text("".join(f"{place}\n" for place in dict.fromkeys(places)))
    return where


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    """Both packages with their `py.typed`; no tests, no examples, nothing else at the top."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {"caveats/py.typed", "capsvc/py.typed", "capsvc/http/fastprotocol.py"} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"caveats", "capsvc"}
    sources = {path.relative_to(ROOT).as_posix() for package in ("caveats", "capsvc") for path in _sources(package)}
    assert sources == {name for name in names if name.endswith(".py")}


def _sources(package: str) -> Iterator[Path]:
    return (ROOT / package).rglob("*.py")


def test_what_it_needs_is_what_it_says(wheel: Path) -> None:
    """The wheel asks for the dependencies of the project file, and each is there in a version that it accepts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = zipfile.ZipFile(wheel).read(f"capsvc-{project['version']}.dist-info/METADATA").decode()
    for requirement in project["dependencies"]:
        name = requirement.split(">")[0]
        assert f"\nRequires-Dist: {name}" in metadata
        assert importlib.metadata.version(name)


def test_the_installed_command_makes_a_service_that_mints(
    installed: Path, running_from: type[Running], clean_environment: dict[str, str]
) -> None:
    """`--version`, `init`, `serve`, `mint`, `verify`, all from the wheel: no source tree is on the path."""
    capsvc = installed / "env" / "bin" / "capsvc"
    where = installed / "work"
    where.mkdir()

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=where, env=clean_environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    places = run(capsvc.with_name("python"), "-c", "import capsvc, caveats; print(capsvc.__file__, caveats.__file__)")
    assert all(place.startswith(str(installed / "env")) for place in places.split())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run(capsvc, "--version") == f"capsvc {version}\n"
    assert run(capsvc, "init").startswith("Made in capsvc-data: capsvc.db, master.key, admin.token.")
    service = running_from([capsvc], where, clean_environment)
    try:
        minted = service.command("mint", "--ttl", "1h", "--caveat", "action in read")
        assert (minted.returncode, minted.stderr) == (0, "")
        verified = service.command("verify", "--context", "action=read", given=minted.stdout)
        assert (verified.returncode, verified.stdout.splitlines()[0]) == (0, "allowed")
        denied = service.command("verify", "--context", "action=write", given=minted.stdout)
        assert (denied.returncode, denied.stdout.splitlines()[0]) == (1, "denied: caveat-refused")
    finally:
        service.close()
