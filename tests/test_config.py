"""Settings: where each comes from, what wins, and what stops a start without its value being shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from capsvc.config import Settings, SettingsError

SECRET = "hunter2-hunter2"


def test_only_a_data_directory_is_needed() -> None:
    """Every other setting has the contract's default."""
    settings = Settings(data_dir="data")
    assert settings.data_dir == Path("data")
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8700, 1)
    assert settings.database_path == Path("data/capsvc.db")
    assert settings.master_key_path == Path("data/master.key")
    assert settings.issuer_url == "http://127.0.0.1:8700"
    assert settings.revocation_max_lag == 1
    assert settings.trusted_proxies == ()
    assert settings.behind_proxy is settings.metrics_open is False
    assert (dict(settings.attributes), dict(settings.forward_auth_actions)) == ({}, {})
    assert settings.forward_auth_audience is None


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after it was checked, nor inside its tables."""
    settings = Settings("data", attributes={"floor": {"type": "integer"}})
    with pytest.raises(AttributeError):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.attributes["floor"]["type"] = "word"  # type: ignore[index]


def test_settings_travel_to_worker_processes() -> None:
    """A pickled copy is equal, tables and all."""
    settings = Settings(
        "data",
        attributes={"plan": {"type": "word", "values": ["free", "team"]}},
        forward_auth_actions={"GET": "read"},
        trusted_proxies=["10.0.0.0/8"],
    )
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own


VARIABLES = {
    "CAPSVC_DATA_DIR": "data",
    "CAPSVC_DATABASE_URL": "sqlite:///elsewhere.db",
    "CAPSVC_MASTER_KEY_FILE": "key",
    "CAPSVC_ISSUER": "https://tokens.example",
    "CAPSVC_HOST": "::1",
    "CAPSVC_PORT": "0",
    "CAPSVC_WORKERS": "2",
    "CAPSVC_BEHIND_PROXY": "true",
    "CAPSVC_SSL_CERTFILE": "cert.pem",
    "CAPSVC_SSL_KEYFILE": "key.pem",
    "CAPSVC_REVOCATION_MAX_LAG": "2.5",
    "CAPSVC_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1",
    "CAPSVC_METRICS_OPEN": "false",
}


def test_every_variable_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists by commas, booleans true and false, durations in seconds."""
    monkeypatch.chdir(tmp_path)
    assert Settings.from_env(VARIABLES) == Settings(
        "data",
        database_url="sqlite:///elsewhere.db",
        master_key_file="key",
        issuer="https://tokens.example",
        host="::1",
        port=0,
        workers=2,
        behind_proxy=True,
        ssl_certfile="cert.pem",
        ssl_keyfile="key.pem",
        revocation_max_lag=2.5,
        trusted_proxies=("10.0.0.0/8", "192.0.2.1/32"),
        metrics_open=False,
    )


def test_an_empty_variable_is_unset_and_an_unknown_one_ignored(tmp_path: Path) -> None:
    """Also one that belongs to the file alone."""
    env = {
        "CAPSVC_DATA_DIR": str(tmp_path),
        "CAPSVC_PORT": "",
        "CAPSVC_NO_SUCH": "x",
        "CAPSVC_ATTRIBUTES": "x",
        "CAPSVC_FORWARD_AUTH_AUDIENCE": "",
    }
    assert Settings.from_env(env) == Settings(tmp_path)


def test_variables_over_given_settings(tmp_path: Path) -> None:
    """An embedder can let the environment win over its own settings."""
    base = Settings(tmp_path, port=1000, workers=2)
    assert Settings.from_env({"CAPSVC_PORT": "2000"}, base) == Settings(tmp_path, port=2000, workers=2)


def test_options_win_over_variables_over_file_over_defaults(tmp_path: Path) -> None:
    """Each layer is seen where the ones above it are silent."""
    (tmp_path / "capsvc.toml").write_text("port = 1\nworkers = 2\nhost = '::1'\n")
    env = {"CAPSVC_PORT": "3", "CAPSVC_WORKERS": "4"}
    settings = Settings.load({"data_dir": tmp_path, "port": 5, "workers": None, "host": None}, env)
    assert (settings.port, settings.workers, settings.host, settings.behind_proxy) == (5, 4, "::1", False)


def test_a_named_file_is_read_in_place_of_the_data_directory_s(tmp_path: Path) -> None:
    """``--config`` and ``CAPSVC_CONFIG`` both name one; the option wins."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "capsvc.toml").write_text("port = 1\n")
    (tmp_path / "two.toml").write_text("port = 2\n")
    (tmp_path / "three.toml").write_text("port = 3\n")
    env = {"CAPSVC_DATA_DIR": str(data)}
    assert Settings.load({}, env).port == 1
    env["CAPSVC_CONFIG"] = str(tmp_path / "two.toml")
    assert Settings.load({}, env).port == 2
    assert Settings.load({}, env, tmp_path / "three.toml").port == 3


def test_relative_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    """Absolute ones stay as they are."""
    file = tmp_path / "capsvc.toml"
    file.write_text(
        "data_dir = 'data'\nmaster_key_file = 'secret/key'\ndatabase_url = 'sqlite:///db/x.db'\n"
        "ssl_certfile = '/etc/cert.pem'\n"
    )
    settings = Settings.load({}, {}, file)
    assert settings.data_dir == tmp_path / "data"
    assert settings.master_key_path == tmp_path / "secret/key"
    assert settings.database_path == tmp_path / "db/x.db"
    assert settings.ssl_certfile == Path("/etc/cert.pem")


def test_attributes_and_gateway_settings_come_from_the_file(tmp_path: Path) -> None:
    """As the contract spells them."""
    (tmp_path / "capsvc.toml").write_text(
        'forward_auth_audience = "photos"\n'
        'forward_auth_actions = {GET = "read", POST = "write"}\n'
        '[attributes.floor]\ntype = "integer"\n'
        '[attributes.tenant]\ntype = "word"\nfact = true\n'
        '[attributes."geo.zone"]\ntype = "word"\nvalues = ["eu", "us"]\n'
    )
    settings = Settings.load({"data_dir": tmp_path}, {})
    assert settings.forward_auth_actions == {"GET": "read", "POST": "write"}
    assert settings.attributes == {
        "floor": {"type": "integer"},
        "tenant": {"type": "word", "fact": True},
        "geo.zone": {"type": "word", "values": ("eu", "us")},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("surprise = 1\n", "surprise in"),
        ("data_dir = '.'\n", "data_dir in"),
        ("port = '8700'\n", "port in"),
        ("port = true\n", "port in"),
        ("port = 65536\n", "port in"),
        ("workers = 0\n", "workers in"),
        ("workers = 1.0\n", "workers in"),
        ("behind_proxy = 1\n", "behind_proxy in"),
        ("metrics_open = 'true'\n", "metrics_open in"),
        ("revocation_max_lag = 0\n", "revocation_max_lag in"),
        ("revocation_max_lag = nan\n", "revocation_max_lag in"),
        ("revocation_max_lag = true\n", "revocation_max_lag in"),
        ("trusted_proxies = '10.0.0.0/8'\n", "trusted_proxies in"),
        ("trusted_proxies = ['10.0.0.1/8']\n", "trusted_proxies in"),
        ("trusted_proxies = ['::/0']\n", "trusted_proxies in"),
        ("trusted_proxies = [10]\n", "trusted_proxies in"),
        ("host = ''\n", "host in"),
        ("host = 'a b'\n", "host in"),
        ("host = '[::1]'\n", "host in"),
        ("issuer = 'ftp://x'\n", "issuer in"),
        ("issuer = 'https://u@x'\n", "issuer in"),
        ("issuer = 'https://x/?a'\n", "issuer in"),
        ("issuer = 'https://x:99999'\n", "issuer in"),
        ("issuer = 'https://'\n", "issuer in"),
        ("database_url = 'mysql://x/y'\n", "database_url in"),
        ("database_url = 'sqlite:///:memory:'\n", "database_url in"),
        ("database_url = 'sqlite:///x?mode=ro'\n", "database_url in"),
        ("master_key_file = ''\n", "master_key_file in"),
        ("forward_auth_audience = 'two words'\n", "forward_auth_audience in"),
        ("forward_auth_audience = 'capsvc'\n", "forward_auth_audience in .*: must not be the administrators' own"),
        ("forward_auth_actions = {get = 'read'}\n", "forward_auth_actions in"),
        ("forward_auth_actions = {GET = 'a b'}\n", "forward_auth_actions in"),
        ("forward_auth_actions = 'GET'\n", "forward_auth_actions in"),
        ("attributes = 1\n", "attributes in"),
        ("[attributes]\nfloor = 'integer'\n", "attributes in"),
        ("[attributes.floor]\ntype = 'real'\n", "attributes in"),
        ("[attributes.time]\ntype = 'integer'\n", "attributes in"),
        ("[attributes.floor]\ntype = 'integer'\nunit = 'm'\n", "attributes in"),
        ("port = \n", "is not TOML"),
        ("port = 1\nport = 1\n", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
    ],
)
def test_a_wrong_file_stops_the_start(tmp_path: Path, text: str, says: str) -> None:
    """The message names the key and the file; the same file without it is read."""
    file = tmp_path / "capsvc.toml"
    file.write_text("host = '::1'\n")
    assert Settings.load({"data_dir": tmp_path}, {}).host == "::1"
    file.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        Settings.load({"data_dir": tmp_path}, {})
    assert str(file) in str(caught.value)
    assert (caught.value.code, caught.value.exit_code) == ("settings", 2)


def test_the_data_directory_s_own_file_cannot_name_one_even_when_named(tmp_path: Path) -> None:
    """Whichever way it was found; a file elsewhere can."""
    own = tmp_path / "capsvc.toml"
    own.write_text("data_dir = '.'\n")
    with pytest.raises(SettingsError, match="data_dir in"):
        Settings.load({}, {}, own)
    other = tmp_path / "other.toml"
    other.write_text("data_dir = '.'\n")
    assert Settings.load({}, {}, other).data_dir == tmp_path


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    """One that was named and is missing, one that is not text."""
    file = tmp_path / "named.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"named\.toml"):
        Settings.load({"data_dir": tmp_path}, {}, file)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CAPSVC_PORT", "eighty"),
        ("CAPSVC_PORT", "-1"),
        ("CAPSVC_PORT", "\u0661"),
        ("CAPSVC_WORKERS", "1.5"),
        ("CAPSVC_WORKERS", "65"),
        ("CAPSVC_BEHIND_PROXY", "yes"),
        ("CAPSVC_METRICS_OPEN", "True"),
        ("CAPSVC_REVOCATION_MAX_LAG", "1s"),
        ("CAPSVC_REVOCATION_MAX_LAG", "61"),
        ("CAPSVC_TRUSTED_PROXIES", "10.0.0.0/8,"),
        ("CAPSVC_ISSUER", "tokens.example"),
    ],
)
def test_a_wrong_variable_stops_the_start(tmp_path: Path, variable: str, value: str) -> None:
    """The message names the variable."""
    with pytest.raises(SettingsError, match=f"^{variable}: must "):
        Settings.from_env({"CAPSVC_DATA_DIR": str(tmp_path), variable: value})


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    """As it is typed."""
    with pytest.raises(SettingsError, match=r"^--port: must "):
        Settings.load({"data_dir": tmp_path, "port": 70_000}, {})


@pytest.mark.parametrize("name", ["database_url", "issuer", "host", "forward_auth_audience"])
def test_an_error_never_repeats_the_value(tmp_path: Path, name: str) -> None:
    """A password in an address must not reach a log."""
    wrong = f"postgresql://user:{SECRET}@db/ capsvc"
    with pytest.raises(SettingsError) as from_python:
        Settings(tmp_path, **{name: wrong})  # type: ignore[arg-type]
    (tmp_path / "capsvc.toml").write_text(f"{name} = '{wrong}'\n")
    with pytest.raises(SettingsError) as from_file:
        Settings.load({"data_dir": tmp_path}, {})
    for error in (from_python.value, from_file.value):
        assert name in str(error)
        assert SECRET not in str(error)
        assert error.__cause__ is None


def test_postgresql_is_refused_by_name(tmp_path: Path) -> None:
    """A database that this version cannot use stops the start instead of being taken for a file."""
    with pytest.raises(SettingsError, match=r"^CAPSVC_DATABASE_URL: must be sqlite:///"):
        Settings.from_env({"CAPSVC_DATA_DIR": str(tmp_path), "CAPSVC_DATABASE_URL": f"postgresql://u:{SECRET}@h/d"})


def test_the_database_s_address_is_not_in_the_repr(tmp_path: Path) -> None:
    """It may hold a password one day."""
    assert "elsewhere" not in repr(Settings(tmp_path, database_url="sqlite:///elsewhere.db"))


def test_a_key_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """Serving without TLS where a key was given would be a surprise; a certificate with its key inside is fine."""
    assert Settings(tmp_path, ssl_certfile="both.pem").issuer_url == "https://127.0.0.1:8700"
    with pytest.raises(SettingsError, match=r"^ssl_keyfile: "):
        Settings(tmp_path, ssl_keyfile="key.pem")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9"),
        ("::1", "http://[::1]:9"),
        ("0.0.0.0", "http://127.0.0.1:9"),  # noqa: S104 - what the test is about
        ("::", "http://[::1]:9"),
        ("localhost", "http://localhost:9"),
    ],
)
def test_an_address_to_connect_to(tmp_path: Path, host: str, url: str) -> None:
    """Listening everywhere is no address that one can connect to."""
    assert Settings(tmp_path, host=host).url(9) == url
