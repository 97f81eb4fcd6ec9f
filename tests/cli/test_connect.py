"""Which service a command asks, with which credential; and services that are none."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from capsvc.cli.connect import EMPTY_PAGES, Service
from capsvc.client import ServiceError
from capsvc.client.connection import Connection
from capsvc.client.messages import Answer, Call

from .conftest import Live, Outcome, Root, Run

Serve = Callable[[bytes], str]


@pytest.fixture
def credential(live: Live) -> str:
    """The live service's own credential."""
    return (live.data / "admin.token").read_text()


def _list(run: Run, *options: str, env: dict[str, str] | None = None) -> Outcome:
    return run("audiences", "list", *options, env=env)


def test_the_data_directory_says_all(run: Run, live: Live) -> None:
    """serve.url and admin.token of the data directory: by option, by variable, by ./capsvc-data."""
    assert _list(run, "--data-dir", str(live.data)).done()
    assert _list(run, env=live.env).done()
    Path("capsvc-data").symlink_to(live.data)
    assert _list(run).done()


def test_url_and_credential_by_themselves(run: Run, live: Live, credential: str) -> None:
    """Without a data directory, address and credential by option or variable; options win."""
    Path("c").write_text(credential)
    assert _list(run, "--url", live.url, "--credential-file", "c").done()
    env = {"CAPSVC_URL": live.url, "CAPSVC_CREDENTIAL_FILE": "c"}
    assert _list(run, env=env).done()
    wrong = {"CAPSVC_URL": "http://127.0.0.1:1", "CAPSVC_CREDENTIAL_FILE": "nosuch"}
    assert _list(run, "--url", live.url + "/", "--credential-file", "c", env=wrong).done()
    assert _list(run, env={**env, "CAPSVC_DATA_DIR": "nosuch"}).done()
    assert _list(run, "--url", live.url, env=live.env).done()


def test_no_credential(run: Run, live: Live) -> None:
    """No credential anywhere, an unreadable or an empty file: exit 2, which names the option."""
    assert "--credential-file" in _list(run, "--url", live.url).refused(2, "credential-missing")
    _list(run, "--url", live.url, "--credential-file", "nosuch").refused(2, "credential-missing")
    _list(run, "--url", live.url, "--credential-file", ".").refused(2, "credential-missing")
    Path("empty").write_text("\n")
    _list(run, "--url", live.url, "--credential-file", "empty").refused(2, "credential-missing")


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"!", "malformed"), (b"a b", "malformed"), (b"\xff", "malformed"), (b"a\nb", "malformed"),
     (b"AgEE", "malformed"), (b"A" * 40_000, "too-large"), (b"A" * 80_000, "too-large")],
    ids=lambda value: str(value)[:10],
)  # fmt: skip
def test_bad_credentials(run: Run, live: Live, text: bytes, code: str) -> None:
    """What is no token, or none that the service accepts: exit 1 and the code."""
    Path("c").write_bytes(text)
    _list(run, "--url", live.url, "--credential-file", "c").refused(1, code)


def test_a_credential_that_does_not_cover(run: Run, live: Live, credential: str) -> None:
    """A narrowed credential is refused what it excludes, with the decision's code."""
    Path("c").write_text(run("attenuate", "--caveat", "action in tokens:mint", stdin=credential).done())
    _list(run, "--url", live.url, "--credential-file", "c").refused(1, "caveat-refused")
    assert run("mint", "--ttl", "5m", "--url", live.url, "--credential-file", "c").done()


@pytest.mark.parametrize("url", ["http://192.0.2.1:8700", "https://tokens.example.org", "https://192.0.2.1"])
def test_admin_token_stays_on_this_machine(run: Run, live: Live, url: str) -> None:
    """The data directory's admin.token goes to loopback alone: elsewhere exit 2, and nothing is sent."""
    outcome = _list(run, "--url", url, env=live.env)
    if url.startswith("https"):
        assert "--credential-file" in outcome.refused(2, "credential-missing")
    else:
        outcome.refused(2, "usage")


@pytest.mark.parametrize("where", ["option", "variable", "serve.url"])
@pytest.mark.parametrize(
    "url",
    ["http://tokens.example.org", "tokens.example.org", "ftp://127.0.0.1", "http://u:pw@127.0.0.1",
     "http://127.0.0.1 x",
     "http://127.0.0.1:0", "http://127.0.0.1:65536", "http://127.0.0.1/?x", "h\u00e9"],
)  # fmt: skip
def test_addresses_that_get_nothing(run: Run, live: Live, url: str, where: str) -> None:
    """An address that may not get a credential: exit 2, whoever named it, its password not repeated."""
    data = Path("data")
    data.mkdir()
    (data / "admin.token").write_bytes((live.data / "admin.token").read_bytes())
    env = {"CAPSVC_DATA_DIR": "data"}
    match where:
        case "option":
            outcome = _list(run, "--url", url, env=env)
        case "variable":
            outcome = _list(run, env={**env, "CAPSVC_URL": url})
        case _:
            (data / "serve.url").write_text(url)
            outcome = _list(run, env=env)
    assert "pw" not in outcome.refused(2, "usage")


@pytest.mark.parametrize(
    "url", ["https://192.0.2.1:8700", "https://tokens.example.org", "https://localhost.", "https://127.1"]
)
def test_a_serve_url_of_another_machine(run: Run, live: Live, credential: str, url: str) -> None:
    """It counts for this machine alone, since anybody may have made the directory; another one is said with --url."""
    data = Path("capsvc-data")
    data.mkdir()
    Path("c").write_text(credential)
    (data / "serve.url").write_text(url)
    for words in (["audiences", "list", "--credential-file", "c"], ["audiences", "list"], ["discharge"]):
        said = run(*words, "--timeout", "1s", stdin=credential).refused(2, "usage")
        assert "--url" in said
        assert url in said
    assert run("audiences", "list", "--credential-file", "c", "--url", live.url).done()
    (data / "serve.url").write_text(live.url)
    assert run("audiences", "list", "--credential-file", "c").done()
    assert run("discharge", stdin=credential).done() == f"{credential.strip()}\n"


def test_a_serve_url_that_cannot_be_read(run: Run) -> None:
    """Noise or a directory where serve.url belongs: exit 2."""
    data = Path("capsvc-data")
    data.mkdir()
    (data / "serve.url").write_bytes(b"\xff\x00" * 5000)
    _list(run).refused(2, "usage")
    (data / "serve.url").unlink()
    (data / "serve.url").mkdir()
    _list(run).refused(2, "usage")


def test_nobody_listens(run: Run, live: Live, closed_port: int, root: Root) -> None:
    """A service that does not run: exit 3, for every command that needs one."""
    options = ["--url", f"http://127.0.0.1:{closed_port}", "--data-dir", str(live.data)]
    for words in (
        ["audiences", "list"],
        ["audiences", "add", "x"],
        ["audiences", "set", "x", "--max-ttl", "1h"],
        ["keys", "list"],
        ["keys", "rotate"],
        ["keys", "revoke", "x"],
        ["keys", "revoke", "x", "--audience", "y"],
        ["tokens", "list"],
        ["tokens", "show", "x"],
        ["mint", "--ttl", "1h"],
        ["mint", "--ttl", "1h", "--fact", "tenant=a"],
        ["mint", "--ttl", "1h", "--third-party", "https://id.example.org=is-known"],
        ["dischargers", "list"],
        ["dischargers", "set", "x", "--clear-next"],
        ["dischargers", "remove", "x"],
        ["bakery-keys", "list"],
        ["bakery-keys", "prepare"],
        ["bakery-keys", "rotate"],
        ["exchange"],
        ["verify"],
        ["revoke"],
    ):
        run(*words, *options, stdin=root()).refused(3, "unavailable")


ROW: dict[str, object] = {
    "id": "x", "audience": "default", "subject": None, "facts": {}, "label": None, "caveats": [], "state": "live",
    "issued_at": "2026-11-22T12:00:00Z", "expires_at": "2026-11-22T13:00:00Z", "minted_by": None,
}  # fmt: skip


def _http(body: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"content-type: " + kind, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"connection: close", b"", body])


PROBLEM = b"application/problem+json"
ANSWERS = [
    ("noise", b"\x00\x01\r\n\r\n", 3, "bad-answer"),
    ("another page", _http(b"<h1>hello</h1>", kind=b"text/html"), 3, "bad-answer"),
    ("not JSON", _http(b"{"), 3, "bad-answer"),
    ("a list", _http(b"[]"), 3, "bad-answer"),
    ("an empty object", _http(b"{}"), 3, "bad-answer"),
    ("a redirect", _http(b"", b"307 T", b"text/plain", b"location: http://127.0.0.1:1/"), 3, "bad-answer"),
    ("a moved page", _http(b"", b"301 M", b"text/plain", b"location: https://example.org/"), 3, "bad-answer"),
    ("no content", _http(b"", b"204 No Content"), 3, "bad-answer"),
    ("compressed", _http(b"{}", b"200 OK", b"application/json", b"content-encoding: br"), 3, "bad-answer"),
    ("huge", _http(b"[" + b"1," * 5_000_000 + b"1]"), 3, "bad-answer"),
    ("nothing there", _http(b"<h1>404</h1>", b"404 N", b"text/html"), 1, "bad-answer"),
    ("a teapot", _http(b'{"code":"teapot","title":"short"}', b"418 T", PROBLEM), 1, "teapot"),
    ("a code that is none", _http(b'{"code":"\\u001b[31m\\n"}', b"400 B", PROBLEM), 1, "bad-answer"),
    ("rate-limited", _http(b'{"code":"rate-limited","title":"slow"}', b"429 T", PROBLEM), 1, "rate-limited"),
    ("unavailable", _http(b'{"code":"unavailable","title":"later"}', b"503 U", PROBLEM), 3, "unavailable"),
    ("a bad gateway", _http(b"<h1>502</h1>", b"502 B", b"text/html"), 3, "unavailable"),
    ("a fault", _http(b"", b"500 F", b"text/plain"), 3, "unavailable"),
]


@pytest.mark.parametrize(("octets", "code", "kind"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
@pytest.mark.parametrize(
    "words",
    [["mint", "--ttl", "1h"], ["mint", "--ttl", "1h", "--fact", "tenant=a"], ["verify"], ["tokens", "list"],
     ["tokens", "show", "x"], ["keys", "rotate"], ["exchange"], ["dischargers", "list"], ["bakery-keys", "rotate"]],
    ids=" ".join,
)  # fmt: skip
def test_services_that_are_none(
    run: Run, live: Live, serve_octets: Serve, *, words: list[str], octets: bytes, code: int, kind: str
) -> None:
    """Whatever answers instead of a service: exit 3, or 1 for a 4xx; one line, nothing on standard output."""
    outcome = run(*words, "--url", serve_octets(octets), "--data-dir", str(live.data), stdin="AgEE")
    outcome.refused(code, kind)


def test_a_service_that_hangs(run: Run, live: Live, serve_octets: Serve) -> None:
    """A service that says nothing is given up: exit 3."""
    options = ["--url", serve_octets(b""), "--data-dir", str(live.data), "--timeout", "1s"]
    assert "in time" in run("tokens", "list", *options).refused(3, "unavailable")


def test_timeouts_out_of_range(run: Run, live: Live) -> None:
    """A timeout of nothing, or of ages, is brought into range; one that is no duration is a usage error."""
    for timeout in ("0", "999999999999d"):
        assert _list(run, "--timeout", timeout, env=live.env).done()
    _list(run, "--timeout", "never", env=live.env).refused(2, "usage")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_list_that_never_ends(run: Run, live: Live, serve_octets: Serve, options: list[str]) -> None:
    """A service that gives the same page for ever is given up: exit 3."""
    page = json.dumps({"tokens": [ROW], "next": "1"}).encode()
    outcome = run("tokens", "list", *options, "--url", serve_octets(_http(page)), "--data-dir", str(live.data))
    assert outcome.code == 3
    assert outcome.err.startswith("capsvc: bad-answer: ")
    assert outcome.out.count('"id": "x"' if options else "x\tlive") == 2


class Paging:
    """Instead of a connection: a page for each of the numbers, with so many rows, under ever new cursors."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sizes = iter(sizes)
        self._asked = 0

    def call(self, _call: Call) -> Answer:
        """The next page; the last one has no cursor."""
        self._asked += 1
        size = next(self._sizes, None)
        following = None if size is None else str(self._asked)
        return Answer(200, {"tokens": [ROW] * (size or 0), "next": following})


def _listed(sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    return Service(cast("Connection", Paging(sizes))).rows("/v1/tokens", "tokens", lambda _: None)


def test_pages_without_a_row_are_passed_over() -> None:
    """A service gives them to a credential that covers none of very many rows."""
    assert len(list(_listed([0, 0, 2, *[0] * EMPTY_PAGES, 1]))) == 3


def test_pages_without_a_row_that_never_end() -> None:
    """Under ever new cursors, too."""
    with pytest.raises(ServiceError) as refused:
        list(_listed(itertools.repeat(0)))
    assert refused.value.code == "bad-answer"


HOSTILE = "\x1b]0;owned\x07\x1b[31m\r\nallowed\nid: forged\x7f\u202e"


PARTY = {
    "name": HOSTILE, "location": HOSTILE, "public_key": HOSTILE, "next_public_key": HOSTILE,
    "created_at": ROW["issued_at"],
}  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_answers_do_not_act_on_the_terminal(run: Run, live: Live, serve_octets: Serve, options: list[str]) -> None:
    """A service's text, in any field or message, is shown in plain characters, on its own line."""
    said = {"id": HOSTILE, "subject": HOSTILE, "facts": {HOSTILE: HOSTILE}, "caveats": [HOSTILE]}
    granted = {**ROW, **said, "allowed": True, "declared": {"a": {HOSTILE: HOSTILE}}}
    row = {**ROW, **said, "label": HOSTILE, "minted_by": {"id": HOSTILE, "branch": HOSTILE}}
    data = str(live.data)
    answers = [
        (["verify"], granted),
        (["tokens", "show", "x"], row),
        (["tokens", "list"], {"tokens": [row, row], "next": None}),
        (["audiences", "add", "x"], {"name": HOSTILE, "max_ttl": 1, "created_at": ROW["issued_at"]}),
        (["keys", "rotate"], {"kid": HOSTILE, "state": HOSTILE, "created_at": ROW["issued_at"]}),
        (["revoke", "--id", "x"], {"kind": HOSTILE, "audience": HOSTILE, "at": ROW["issued_at"]}),
        (["dischargers", "list"], {"dischargers": [PARTY, PARTY], "next": None}),
        (["dischargers", "set", "x", "--clear-next"], PARTY),
        (["bakery-keys", "rotate"], {"public_key": HOSTILE, "state": HOSTILE, "created_at": ROW["issued_at"]}),
    ]
    shown = [
        run(*words, *options, "--url", serve_octets(_http(json.dumps(answer).encode())), "--data-dir", data, stdin="A")
        for words, answer in answers
    ]
    for outcome in shown:
        out = outcome.done()
        assert all(character in "\n\t" or character.isprintable() for character in out)
        assert out.isascii()
        assert out.count("\nallowed") == 0
        assert out.count("\nid: forged") == 0
    problem = json.dumps({"code": "forbidden", "detail": HOSTILE}).encode()
    url = serve_octets(_http(problem, b"403 F", PROBLEM))
    assert "\\x1b]0;owned" in run("tokens", "list", *options, "--url", url, "--data-dir", data).refused(1, "forbidden")


def test_a_minted_token_is_one(run: Run, live: Live, serve_octets: Serve) -> None:
    """What a service hands out as a token is written only if it looks like one."""
    answer = {**ROW, "token": "\x1b[31m"}
    right = json.dumps({**answer, "token": "AgEE"}).encode()
    for words in (["mint", "--ttl", "1h"], ["exchange"]):
        options = [*words, "--data-dir", str(live.data), "--url"]
        wrong = run(*options, serve_octets(_http(json.dumps(answer).encode(), b"201 C")), stdin="AgEE")
        wrong.refused(3, "bad-answer")
        assert run(*options, serve_octets(_http(right, b"201 C")), stdin="AgEE").done() == "AgEE\n"


def test_no_proxy_sees_the_credential(run: Run, live: Live, serve_octets: Serve) -> None:
    """Over http the proxies of the environment are not used."""
    proxy = serve_octets(_http(b"", b"500 Proxy"))
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    assert _list(run, env={**live.env, **dict.fromkeys(names, proxy)}).done()
