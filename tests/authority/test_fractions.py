"""The clock's fraction of a second, which only a bound with a fraction can feel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from capsvc import Authority, Denied, Settings, Token

NOON = 1_800_000_000  # 2027-01-15T08:00:00Z
BOUND = "time-before 2027-01-15T08:00:30.5Z"


class Clock:
    """A clock that stands still; fractions are floats, as `time.time` has them."""

    now: float = NOON

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At noon."""
    return Clock()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> Any:
    """An authority on that clock."""
    with Authority.open(Settings(data_dir=tmp_path / "data"), clock=clock) as opened:
        yield opened


def outcome(authority: Authority, token: str, *, explain: bool = False) -> tuple[str, str]:
    """The decision's code, and the verdict on the last caveat where it was asked for."""
    try:
        grant = authority.authorize(token, audience="default", explain=explain)
    except Denied as denied:
        return denied.code, denied.verdicts[-1].verdict if denied.verdicts else ""
    return "allowed", grant.verdicts[-1].verdict if grant.verdicts else ""


@pytest.mark.parametrize(
    ("after", "code"), [(29, "allowed"), (30, "allowed"), (30.499, "allowed"), (30.5, "expired"), (30.9, "expired")]
)
@pytest.mark.parametrize("by", ["issuer", "holder"])
def test_a_bound_with_a_fraction_is_compared_exactly(
    authority: Authority, clock: Clock, by: str, after: float, code: str
) -> None:
    """Half a second counts, for the decision and its explanation, remembered or not."""
    token = authority.mint(audience="default", ttl=60, caveats=[BOUND] if by == "issuer" else []).token
    if by == "holder":
        token = str(Token.parse(token).attenuate(BOUND))
    clock.now = NOON + after
    expected = (code, "satisfied" if code == "allowed" else "expired")
    assert [outcome(authority, token, explain=True) for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize(("after", "code"), [(59.999, "allowed"), (60, "expired"), (60.001, "expired")])
def test_a_bound_of_whole_seconds(authority: Authority, clock: Clock, after: float, code: str) -> None:
    """The last fraction before it is still good."""
    token = authority.mint(audience="default", ttl=60).token
    clock.now = NOON + after
    assert outcome(authority, token)[0] == code


@pytest.mark.parametrize(("after", "code"), [(9.999, "not-yet-valid"), (10, "allowed")])
def test_a_start_of_whole_seconds(authority: Authority, clock: Clock, after: float, code: str) -> None:
    """The last fraction before it is too early."""
    token = authority.mint(audience="default", ttl=60, caveats=["time >= 2027-01-15T08:00:10Z"]).token
    clock.now = NOON + after
    verdict = "satisfied" if code == "allowed" else "not-yet-valid"
    assert outcome(authority, token, explain=True) == (code, verdict)


@pytest.mark.parametrize("context", [5, "action", [("action", "read")], ()])
def test_a_context_that_is_no_mapping(authority: Authority, context: Any) -> None:
    """Denied in its turn, not an error; with nothing in it, it is fine."""
    token = authority.mint(audience="default", ttl=60).token
    for explain in (False, True):
        with pytest.raises(Denied) as denied:
            authority.authorize(token, audience="default", context=context, explain=explain)
        assert denied.value.code == "context-invalid"
    assert authority.authorize(token, audience="default", context={}).id
