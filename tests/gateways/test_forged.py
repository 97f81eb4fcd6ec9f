"""What a caller says of himself reaches neither the decision nor the application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .application import Application
from .conftest import Authority, Behind
from .gateway import Gateway, Places, snippet

SUBJECT, TOKEN_ID = "X-Capsvc-Subject", "X-Capsvc-Token-Id"

Headers = list[tuple[str, str | bytes]]

FORGED: dict[str, Headers] = {
    "plain": [(SUBJECT, "root"), (TOKEN_ID, "A" * 22)],
    "twice": [(SUBJECT, "root"), (SUBJECT, "admin")],
    "in lower case": [(SUBJECT.lower(), "root"), (TOKEN_ID.lower(), "root")],
    "in upper case": [(SUBJECT.upper(), "root")],
    "empty": [(SUBJECT, ""), (TOKEN_ID, "")],
    "underscores": [("X_Capsvc_Subject", "root"), ("X_Capsvc_Token_Id", "root")],
    "one underscore": [("X-Capsvc_Subject", "root"), ("X_Capsvc-Subject", "root")],
    "underscores in lower case": [("x_capsvc_subject", "root")],
    "hop-by-hop": [(SUBJECT, "root"), ("Connection", f"close, {SUBJECT}")],
    "hop-by-hop, both": [("Connection", f"close, {SUBJECT}, {TOKEN_ID}")],
    "hop-by-hop, in lower case": [("Connection", f"close, {SUBJECT.lower()}")],
    "hop-by-hop, twice": [("Connection", "close"), ("Connection", SUBJECT)],
    "hop-by-hop, with underscores": [("X_Capsvc_Subject", "root"), ("Connection", f"close, {SUBJECT}")],
    "upgrade": [("Upgrade", "websocket"), ("Connection", f"Upgrade, {SUBJECT}")],
    "proxy-connection": [("Proxy-Connection", SUBJECT), ("Keep-Alive", SUBJECT)],
    "trailer": [("Trailer", SUBJECT), ("TE", "trailers")],
    "in a value": [("X-Other", f"a\n{SUBJECT}: root")],
}


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("subject", ["alice", None])
def test_subjects(behind: Behind, case: str, subject: str | None) -> None:
    """The application sees what the service said, once, in no spelling anything else; or the request is refused."""
    token = behind.authority.token(**({} if subject is None else {"subject": subject}))
    plain = behind.reached(token=token)
    behind.seen()
    answer = behind.gateway.ask("/photos/1", *FORGED[case], token=token)
    assert answer.status == 200
    (seen,) = behind.seen()
    assert (seen.subjects, seen.token_ids) == (plain.subjects, plain.token_ids)
    assert "".join(seen.subjects) == (subject or "")
    assert len(seen.token_ids) == 1


@pytest.mark.parametrize("name", [" " + SUBJECT, SUBJECT + " ", SUBJECT + "\t", SUBJECT + "\0", "X-Other\r" + SUBJECT])
def test_names_that_are_none(behind: Behind, name: str) -> None:
    """Names that programs read in different ways end the request."""
    token = behind.authority.token()
    behind.reached("/photos/1", ("X-Other", "root"), token=token)
    assert behind.refused("/photos/1", (name, "root"), token=token).status in {400, 401}


TOLD: dict[str, Headers] = {
    "path": [("X-Forwarded-Uri", "/public")],
    "path twice": [("X-Forwarded-Uri", "/public"), ("X-Forwarded-Uri", "/public")],
    "other names of the path": [("X-Original-URL", "/public"), ("X-Rewrite-URL", "/public"), ("X-Original-URI", "/p")],
    "prefix": [("X-Forwarded-Prefix", "/public")],
    "method": [("X-Forwarded-Method", "HEAD"), ("X-HTTP-Method-Override", "HEAD")],
    "host": [("X-Forwarded-Host", "open.example.org"), ("Forwarded", "host=open.example.org;for=127.0.0.2")],
    "address": [("X-Forwarded-For", "127.0.0.2"), ("X-Real-IP", "127.0.0.2")],
    "address twice": [("X-Forwarded-For", "127.0.0.2"), ("X-Forwarded-For", "127.0.0.2, 127.0.0.1")],
    "underscores": [("X_Forwarded_Uri", "/public"), ("x_forwarded_for", "127.0.0.2"), ("X_Forwarded-Host", "open")],
    "hop-by-hop": [("Connection", "close, X-Forwarded-Uri, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Method")],
}


@pytest.mark.parametrize("case", TOLD)
@pytest.mark.parametrize(
    ("caveat", "right"),
    [
        ("path = /public", {"target": "/public"}),
        ("method = HEAD", {"method": "HEAD"}),
        ("host = open.example.org", {"host": "open.example.org"}),
        ("ip in 127.0.0.2/32", {"source": "127.0.0.2"}),
    ],
)
def test_what_is_told_of_the_request(behind: Behind, case: str, caveat: str, right: dict[str, str]) -> None:
    """It is the gateway's own: a caller's headers of that kind make no refusal a grant, and no grant a refusal."""
    token = behind.authority.token(caveat)
    assert behind.refused("/photos/1", *TOLD[case], token=token).status == 403
    target, named = right.get("target", "/photos/1"), {key: value for key, value in right.items() if key != "target"}
    behind.seen()
    assert behind.gateway.ask(target, *TOLD[case], token=token, **named).status == 200  # type: ignore[arg-type]
    assert len(behind.seen()) == 1


@pytest.fixture
def weaker(
    request: pytest.FixtureRequest, tmp_path: Path, authority: Authority, application: Application, site: Path
) -> Iterator[Behind]:
    """A gateway with some of the example's lines left out."""
    name, *without = request.param
    lines = snippet(name).splitlines(keepends=True)
    left = [line for line in lines if not any(text in line for text in without)]
    assert len(left) < len(lines)
    gateway = Gateway(name, tmp_path / "run", Places(authority.port, application.port, site), "".join(left))
    yield Behind(gateway, application, authority)
    gateway.close()


@pytest.mark.parametrize(
    ("weaker", "case", "subjects"),
    [
        (("nginx", "proxy_set_header X-Capsvc-Subject"), "plain", ["root"]),
        (("caddy", "header_up -*_*"), "underscores", ["alice", "root"]),
        (("caddy", "header_up X-Capsvc-Subject"), "hop-by-hop, both", []),
    ],
    indirect=["weaker"],
)
def test_the_lines_are_needed(weaker: Behind, case: str, subjects: list[str]) -> None:
    """Without them the same tests would see what a caller made up, or nothing of what the service said."""
    token = weaker.authority.token(subject="alice")
    assert weaker.reached("/photos/1", *FORGED[case], token=token).subjects == subjects


def test_the_target_as_it_was_sent_is_needed(
    tmp_path: Path, authority: Authority, application: Application, site: Path
) -> None:
    """With nginx's ``$uri``, which it has repaired, a path is judged that is not the application's."""
    saved = (
        snippet("nginx").replace("location / {", "location / { set $saved $uri;").replace("$request_uri;", "$saved;")
    )
    gateway = Gateway("nginx", tmp_path / "run", Places(authority.port, application.port, site), saved)
    try:
        repaired = Behind(gateway, application, authority)
        token = authority.token("path under /public")
        assert repaired.reached("/admin/..%2fpublic", token=token).target == "/admin/..%2fpublic"
    finally:
        gateway.close()
