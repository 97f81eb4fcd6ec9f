"""Which addresses there are, and that every other spelling of one is none."""

import re
from collections.abc import Iterator

import pytest

from .conftest import Api

ROUTES = {
    "/v1/verify": {"POST"},
    "/v1/verify/batch": {"POST"},
    "/v1/introspect": {"POST"},
    "/v1/tokens": {"GET", "POST"},
    "/v1/tokens/x": {"GET"},
    "/v1/revoke": {"POST"},
    "/v1/revocations": {"GET", "POST"},
    "/v1/audiences": {"GET", "POST"},
    "/v1/audiences/default": {"GET", "PATCH"},
    "/v1/audiences/default/keys": {"GET", "POST"},
    "/v1/audiences/default/keys/x": {"DELETE"},
    "/v1/exchange": {"POST"},
    "/v1/dischargers": {"GET", "POST"},
    "/v1/dischargers/x": {"GET", "PATCH", "DELETE"},
    "/v1/bakery-keys": {"GET", "POST"},
    "/v1/bakery-keys/rotate": {"POST"},
    "/healthz": {"GET"},
    "/readyz": {"GET"},
    "/openapi.json": {"GET"},
    "/.well-known/capsvc": {"GET"},
    "/.well-known/oauth-authorization-server": {"GET"},
}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"}
ROUTES["/v1/forward-auth"] = METHODS
NOT_YET = [
    "/v1/audit",
    "/v1/bakery-keys/x",
    "/v1/dischargers/x/keys",
    "/metrics",
]
NOTHING = ["/", "/v1", "/v2/verify", "/docs", "/redoc", "/static", "/favicon.ico", "/admin", "*", ""]


def served(methods: set[str]) -> set[str]:
    """GET answers HEAD too."""
    return methods | ({"HEAD"} if "GET" in methods else set())


@pytest.mark.parametrize("path", ROUTES)
def test_methods(shared: Api, path: str) -> None:
    """Each path answers its methods; to others it says which those are, and nothing else of itself."""
    for method in METHODS:
        answer = shared.send(method, path)
        if method in served(ROUTES[path]):
            assert answer.status not in {404, 405}
        else:
            assert answer.status == 405
            assert answer.headers["allow"] == ", ".join(sorted(served(ROUTES[path])))
            assert method == "HEAD" or answer.code == "method-not-allowed"


@pytest.mark.parametrize("path", NOT_YET + NOTHING)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_no_such_route(shared: Api, path: str, method: str) -> None:
    """What is not there is 404, with a problem like every other, whoever asks."""
    answer = shared.call(method, path)
    assert answer.outcome == (404, "not-found")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def twins(path: str) -> Iterator[str]:
    """Other spellings that some routers or proxies take for the same."""
    head, _, last = path.rpartition("/")
    yield from (f"{path}/", f"/{path}", f"{head}//{last}", f"{head}/./{last}", f"{head}/x/../{last}", f"{path};x=1")
    yield from (f"{head}/{last.upper()}", f"{path}.json", f"{path}%20")


def encoded_twins(path: str) -> Iterator[str]:
    """Raw spellings that decode to the very path."""
    head, _, last = path.rpartition("/")
    yield from (f"{head}/%{ord(last[0]):02X}{last[1:]}", f"{head}/%{ord(last[0]):02x}{last[1:]}", f"{head}%2F{last}")
    yield from (f"{head}%2f{last}", f"http://example.com{path}")


@pytest.mark.parametrize("path", [path for path in ROUTES if not path.endswith("/x")])
def test_twins(shared: Api, path: str) -> None:
    """Twin spellings are no route and never redirected; the path itself is one."""
    for method in sorted(ROUTES[path] - {"HEAD"}):
        for twin in twins(path):
            answer = shared.call(method, twin)
            if re.fullmatch(r"/v1/(tokens|audiences|dischargers)/[^/]+", twin):
                assert answer.status in {404, 405, 415}, twin  # the place of a name, and of none that there is
            else:
                assert answer.outcome == (404, "not-found"), twin
            assert "location" not in answer.headers
        for raw in encoded_twins(path):
            answer = shared.send(method, path, raw_path=raw.encode())
            assert answer.outcome == (404, "not-found"), raw
        assert shared.send(method, path).status != 404


@pytest.mark.parametrize(
    "raw", [b"", b"/v1/verify\xff", b"/v1/verify\x00", b"v1/verify", b"/v1/verify#x", b"//v1/verify"]
)
def test_raw_paths_that_are_none(shared: Api, raw: bytes) -> None:
    """The path is judged as it was sent; what a server made of it does not count."""
    assert shared.send("POST", "/v1/verify", raw_path=raw).outcome == (404, "not-found")


def test_a_query_in_the_raw_path(shared: Api) -> None:
    """Some servers leave the query in it; it is no part of the path."""
    assert shared.send("GET", "/healthz", raw_path=b"/healthz?x=1").status == 200


@pytest.mark.parametrize(
    "path", ["/v1/tokens/a%2Fb", "/v1/audiences/a%2Fkeys", "/v1/tokens/..%2Fx", "/v1/bakery-keys%2Frotate"]
)
def test_encoded_slashes(shared: Api, path: str) -> None:
    """An encoded slash is no way into or out of a segment."""
    decoded = path.replace("%2F", "/")
    assert shared.send("GET", decoded, raw_path=path.encode()).outcome == (404, "not-found")


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/openapi.json", "/.well-known/capsvc", "/v1/tokens", "/v1/dischargers"]
)
def test_head(shared: Api, path: str) -> None:
    """HEAD answers as GET does, with the length and without the body."""
    head, get = shared.call("HEAD", path), shared.call("GET", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(get.body))
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_refusals(shared: Api) -> None:
    """A refused HEAD has no body either."""
    for path, status in (("/nothing", 404), ("/v1/verify", 405), ("/v1/tokens", 401)):
        answer = shared.send("HEAD", path)
        assert (answer.status, answer.body if path != "/nothing" else b"") == (status, b"")
