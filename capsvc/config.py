"""What an operator may set: read once, checked before anything listens, then frozen.

Options win over environment variables, these over the file, the file over defaults. An error names the option,
variable or key that is wrong and what would be right; it never repeats the value, which may be a secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from capsvc.config_checks import CHECKS, SQLITE, WrongValueError

__all__ = ["Settings", "SettingsError"]

FILE_NAME: Final = "capsvc.toml"
PREFIX: Final = "CAPSVC_"

NOT_IN_ENVIRONMENT: Final = frozenset({"forward_auth_audience", "forward_auth_actions", "attributes"})
OPTIONAL: Final = frozenset(
    {"database_url", "master_key_file", "issuer", "ssl_certfile", "ssl_keyfile", "forward_auth_audience"}
)
PATHS: Final = frozenset({"data_dir", "master_key_file", "ssl_certfile", "ssl_keyfile"})


class SettingsError(ValueError):
    """A setting is wrong: the process ends with ``.exit_code`` 2. The message names it and never holds its value."""

    code = "settings"
    exit_code = 2


def _checked(name: str, value: object, label: str) -> Any:
    """The value in its own type, or a `SettingsError` that says where it came from."""
    try:
        return CHECKS[name](value)
    except WrongValueError as error:
        raise SettingsError(f"{label}: {error}") from None


@dataclass(frozen=True, slots=True, init=False)
class Settings:
    """What capsvc runs with. ``Settings(data_dir=…)`` needs nothing else; ``None`` stands for the default.

    Durations are seconds. ``port`` 0 asks for any free port. Raises `SettingsError`.
    """

    data_dir: Path
    database_url: str | None = field(repr=False)
    """``None``: ``capsvc.db`` in the data directory."""
    master_key_file: Path | None
    """``None``: ``master.key`` in the data directory. A file named here is never made."""
    issuer: str | None
    """``None``: the address that the service listens on."""
    host: str
    port: int
    workers: int
    behind_proxy: bool
    ssl_certfile: Path | None
    ssl_keyfile: Path | None
    revocation_max_lag: float
    trusted_proxies: tuple[str, ...]
    metrics_open: bool
    forward_auth_audience: str | None
    forward_auth_actions: Mapping[str, str] = field(hash=False)
    attributes: Mapping[str, Mapping[str, object]] = field(hash=False)
    """As in the file: ``{"floor": {"type": "integer"}}``."""

    def __init__(
        self,
        data_dir: str | Path = "capsvc-data",
        *,
        database_url: str | None = None,
        master_key_file: str | Path | None = None,
        issuer: str | None = None,
        host: str = "127.0.0.1",
        port: int = 8700,
        workers: int = 1,
        behind_proxy: bool = False,
        ssl_certfile: str | Path | None = None,
        ssl_keyfile: str | Path | None = None,
        revocation_max_lag: float = 1.0,
        trusted_proxies: tuple[str, ...] | list[str] = (),
        metrics_open: bool = False,
        forward_auth_audience: str | None = None,
        forward_auth_actions: Mapping[str, str] = MappingProxyType({}),
        attributes: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    ) -> None:
        given = locals()
        for item in fields(self):
            value = given[item.name]
            unset = value is None and item.name in OPTIONAL
            object.__setattr__(self, item.name, None if unset else _checked(item.name, value, item.name))
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise SettingsError("ssl_keyfile: needs ssl_certfile beside it")

    def __reduce__(self) -> tuple[Callable[[dict[str, object]], Settings], tuple[dict[str, object]]]:
        """Settings travel to worker processes; their read-only tables must be copied for that."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        plain["forward_auth_actions"] = dict(self.forward_auth_actions)
        plain["attributes"] = {name: dict(entry) for name, entry in self.attributes.items()}
        return _rebuilt, (plain,)

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        if self.database_url is None:
            return self.data_dir / "capsvc.db"
        return Path(self.database_url.removeprefix(SQLITE))

    @property
    def master_key_path(self) -> Path:
        """The file with the 32 octets of the master key."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def issuer_url(self) -> str:
        """The issuer's address; by default the one that it listens on."""
        return self.issuer or self.url(self.port)

    def url(self, port: int) -> str:
        """An address that one can connect to when the service listens on ``port``."""
        scheme = "http" if self.ssl_certfile is None else "https"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - not bound, replaced
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @classmethod
    def from_env(cls, env: Mapping[str, str], base: Settings | None = None) -> Settings:
        """Settings from ``CAPSVC_…`` variables over ``base``, or else over the file that they name or imply."""
        if base is None:
            return cls.load({}, env)
        return _built({item.name: getattr(base, item.name) for item in fields(base)} | _from_env(env))

    @classmethod
    def load(
        cls,
        options: Mapping[str, object],
        env: Mapping[str, str] | None = None,
        config_path: str | Path | None = None,
    ) -> Settings:
        """Settings from options, environment (the process's own by default) and file. An option of ``None`` is unset.

        The file is ``config_path``, else ``CAPSVC_CONFIG``, else ``capsvc.toml`` in the data directory if it is there.
        """
        env = os.environ if env is None else env
        over = _from_env(env) | _from_options(options)
        named = config_path or env.get(PREFIX + "CONFIG") or None
        path = Path(named) if named else _built(over).data_dir / FILE_NAME
        below = _from_file(path) if named or os.path.lexists(path) else {}
        settings = _built(below | over)
        if "data_dir" in below and (not named or path.resolve() == (settings.data_dir / FILE_NAME).resolve()):
            raise SettingsError(f"data_dir in {path}: this file lies in the data directory and cannot name another")
        return settings


def _built(values: Mapping[str, Any]) -> Settings:
    return Settings(**values)


def _rebuilt(values: dict[str, object]) -> Settings:
    return _built(values)


def _from_options(options: Mapping[str, object]) -> dict[str, object]:
    return {
        name: _checked(name, value, f"--{name.replace('_', '-')}")
        for name, value in options.items()
        if value is not None
    }


def _from_env(env: Mapping[str, str]) -> dict[str, object]:
    """Every variable that is set and not empty; ones that name no setting are left alone."""
    found = {}
    for name in CHECKS:
        variable = PREFIX + name.upper()
        if name not in NOT_IN_ENVIRONMENT and (text := env.get(variable)):
            found[name] = _checked(name, _typed(name, text), variable)
    return found


def _typed(name: str, text: str) -> object:
    """A variable's text as what a file would hold; text that is not is left for the check to refuse."""
    match name:
        case "port" | "workers":
            return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
        case "revocation_max_lag":
            return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None
        case "behind_proxy" | "metrics_open":
            return {"true": True, "false": False}.get(text)
        case "trusted_proxies":
            return [item.strip() for item in text.split(",")]
    return text


def _from_file(path: Path) -> dict[str, object]:
    """What a file sets; a key that it cannot set stops the start."""
    found = {}
    for name, value in _read(path).items():
        label = f"{name if name.isascii() and name.isprintable() and len(name) <= 40 else 'a key'} in {path}"
        if name not in CHECKS:
            raise SettingsError(f"{label}: there is no such setting")
        found[name] = _beside(path, name, _checked(name, value, label))
    return found


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        place = re.search(r"\((at [^()]*)\)$", str(error))
        raise SettingsError(f"{path}: is not TOML {place.group(1) if place else ''}".rstrip()) from None


def _beside(path: Path, name: str, value: object) -> object:
    """Relative paths in a file are relative to it."""
    if name in PATHS:
        return path.parent / str(value)
    if name == "database_url":
        return SQLITE + str(path.parent / str(value).removeprefix(SQLITE))
    return value
