"""GET /v1/tokens and /v1/tokens/{id}."""

from typing import Any

import pytest

from capsvc.token import Token

from .conftest import Api

Crowd = list[dict[str, Any]]
"""Mint's answers, in order."""

DAY = 86_400


def listed(api: Api, query: str = "", credential: str | None = None) -> list[str]:
    """The ids in a list, which must have been one."""
    answer = api.get(f"/v1/tokens{query}", credential)
    assert answer.status == 200, answer.body
    assert set(answer.json) == {"tokens", "next"}
    return [row["id"] for row in answer.json["tokens"]]


def pages(api: Api, limit: int, credential: str | None = None, query: str = "") -> list[list[str]]:
    """The ids of every page, followed to the end."""
    found: list[list[str]] = []
    after: str | None = None
    while True:
        answer = api.get(f"/v1/tokens?limit={limit}{query}" + (f"&after={after}" if after else ""), credential).json
        found.append([row["id"] for row in answer["tokens"]])
        after = answer["next"]
        if after is None:
            return found


@pytest.fixture
def crowd(api: Api) -> Crowd:
    """Tokens of several subjects, audiences and facts, in order of minting, and the administrator's own before them."""
    api.post("/v1/audiences", {"name": "photos"})
    return [
        api.mint(subject="alice"),
        api.mint(subject="bob", facts={"tenant": "acme"}),
        api.mint(audience="photos", subject="alice", facts={"seats": 2}),
        api.mint(),
        api.mint(subject="alice", facts={"tenant": "acme", "seats": 9}),
    ]


def test_row(api: Api) -> None:
    """A row is mint's answer without the token, with its state and who minted it."""
    minted = api.mint(subject="alice", facts={"seats": 2}, label="x", caveats=["floor = 1"])
    row = api.get(f"/v1/tokens/{minted['id']}")
    assert row.status == 200
    assert row.json["state"] == "live"
    assert row.json["minted_by"]["id"] == Token.parse(api.admin).id
    assert list(row.json) == [*(name for name in minted if name != "token"), "state", "minted_by"]
    assert {name: row.json[name] for name in minted if name != "token"} == {
        name: value for name, value in minted.items() if name != "token"
    }
    assert minted["token"] not in row.body.decode()


def test_the_first_row_has_no_minter(api: Api) -> None:
    """The administrator's own token was made by nobody's credential."""
    row = api.get(f"/v1/tokens/{Token.parse(api.admin).id}").json
    assert (row["audience"], row["minted_by"], row["subject"], row["facts"]) == ("capsvc", None, None, {})


def test_states(api: Api) -> None:
    """Live until the effective expiry, then expired; revoked comes first; expired rows stay for seven days."""
    minted, short, revoked = api.mint(), api.mint(ttl=10), api.mint(ttl=10)
    api.post("/v1/revocations", {"id": revoked["id"]})
    api.clock.now += 9
    assert [api.get(f"/v1/tokens/{one['id']}").json["state"] for one in (minted, short, revoked)] == [
        "live",
        "live",
        "revoked",
    ]
    api.clock.now += 1
    assert [api.get(f"/v1/tokens/{one['id']}").json["state"] for one in (minted, short, revoked)] == [
        "live",
        "expired",
        "revoked",
    ]
    api.clock.now += 7 * DAY - 1
    assert short["id"] in listed(api)


@pytest.mark.parametrize("token_id", ["A" * 22, "x", "%C3%A9", "A" * 200, "..x", "'%20OR%201=1"])
def test_no_such_token(shared: Api, token_id: str) -> None:
    """What is not there is 404."""
    assert shared.get(f"/v1/tokens/{token_id}").outcome == (404, "not-found")


def test_list_is_in_order(api: Api, crowd: Crowd) -> None:
    """Oldest first, the administrator's own among them."""
    assert listed(api) == [Token.parse(api.admin).id, *(minted["id"] for minted in crowd)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?audience=default", [0, 1, 3, 4]),
        ("?audience=photos", [2]),
        ("?audience=nothing", []),
        ("?audience=", []),
        ("?audience=a%20b", []),
        ("?subject=alice", [0, 2, 4]),
        ("?subject=nobody", []),
        ("?audience=default&subject=alice", [0, 4]),
        ("?minted_by=AAAAAAAAAAAAAAAAAAAAAA", []),
        ("?branch=" + "A" * 43, []),
        ("?branch=x", []),
        ("?branch=%C3%A9", []),
    ],
)
def test_filters(api: Api, crowd: Crowd, query: str, expected: list[int]) -> None:
    """Each filter narrows the list; what does not exist gives an empty one."""
    assert listed(api, query) == [crowd[n]["id"] for n in expected]


def test_filter_by_credential(api: Api) -> None:
    """What a lost credential minted is found by its id, and by its branch alone."""
    narrowed = api.narrowed("method in GET,POST")
    by_narrowed, by_admin = api.mint(narrowed), api.mint()
    minter = api.get(f"/v1/tokens/{by_narrowed['id']}").json["minted_by"]
    assert listed(api, f"?minted_by={minter['id']}") == [by_narrowed["id"], by_admin["id"]]
    assert listed(api, f"?branch={minter['branch']}") == [by_narrowed["id"]]
    assert listed(api, f"?minted_by={minter['id']}&branch={minter['branch']}") == [by_narrowed["id"]]
    assert listed(api, f"?minted_by={by_admin['id']}&branch={minter['branch']}") == []


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=1001",
        "?limit=-1",
        "?limit=01",
        "?limit=1.0",
        "?limit=",
        "?limit=ten",
        "?limit=%EF%BC%91",
        "?limit=1&limit=1",
        "?after=",
        "?after=x",
        "?after=tokens",
        "?after=tokens.0",
        "?after=tokens.01",
        "?after=tokens.-1",
        "?after=tokens.1.1",
        "?after=audiences.1",
        "?after=tokens." + "9" * 30,
        "?after=tokens.1&after=tokens.1",
        "?colour=red",
        "?Audience=default",
        "?audience=default&audience=default",
        "?audience",
        "?&",
        "?audience=%ff",
        "?audience=\xe9",
    ],
)
def test_queries_refused(shared: Api, query: str) -> None:
    """A bound passed, a cursor that is none of this list's, an unknown or repeated parameter: 400."""
    assert shared.get(f"/v1/tokens{query}").outcome == (400, "bad-request")


@pytest.mark.parametrize(
    "query", ["", "?limit=1", "?limit=1000", "?after=tokens.1", "?after=tokens.999999999999999999"]
)
def test_queries_taken(shared: Api, query: str) -> None:
    """The same within bounds."""
    assert shared.get(f"/v1/tokens{query}").status == 200


@pytest.mark.parametrize("path", ["/v1/tokens/x", "/v1/audiences/default", "/v1/audiences/default/keys/x"])
def test_no_parameters_elsewhere(shared: Api, path: str) -> None:
    """Where nothing is asked of the query it is to be empty."""
    method = "DELETE" if path.endswith("x") and "keys" in path else "GET"
    assert shared.call(method, f"{path}?limit=1").outcome == (400, "bad-request")
    assert shared.call(method, path).status in {200, 404}


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
def test_pages(api: Api, crowd: Crowd, limit: int) -> None:
    """Pages of any size together are the list, each full but the last, and the last says so."""
    found = pages(api, limit)
    assert [token_id for page in found for token_id in page] == listed(api)
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_limit_counts_rows_shown(api: Api, crowd: Crowd) -> None:
    """Rows that the credential does not cover take no place in a page, and show by no cursor."""
    credential = api.narrowed("for.sub = alice")
    alices = [crowd[n]["id"] for n in (0, 2, 4)]
    assert pages(api, 2, credential) == [alices[:2], alices[2:]]
    assert pages(api, 3, credential) == [alices]
    assert pages(api, 1, api.narrowed("for.sub = nobody")) == [[]]
    assert pages(api, 1, api.narrowed("for.sub = bob")) == [[crowd[1]["id"]]]


def test_a_page_ends_when_enough_was_looked_at(api: Api, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential that covers next to nothing gets short pages, not an endless search; together they are all."""
    monkeypatch.setattr("capsvc.http.tokens._MOST_ROWS", 2)
    monkeypatch.setattr("capsvc.http.tokens._ROWS_AT_ONCE", 1)
    credential = api.narrowed("for.sub = alice", "for.tenant = acme")
    found = pages(api, 2, credential)
    assert [token_id for page in found for token_id in page] == [crowd[4]["id"]]
    assert len(found) > 1
