"""Step 6, a second before, at and after every bound; and what a token's end is said to be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

NOON = 1_795_348_800
Instant = Callable[[int], str]
EDGE = (-1, 0, 1)


def around(office: Any, moment: int, bundle: str, **context: object) -> list[str]:
    """The outcomes a second before, at and after a moment (in seconds after noon)."""
    return [office.at(moment + step, bundle, **context) for step in EDGE]


ENDS = ["allowed", "expired", "expired"]
BEGINS = ["not-yet-valid", "allowed", "allowed"]


def test_the_issuers_bound(shared: Any) -> None:
    """A minted token is valid while now < expires_at."""
    assert around(shared, 600, shared.mint(ttl=600)) == ENDS
    until = datetime.fromtimestamp(NOON + 600, UTC)
    assert around(shared, 600, shared.mint(ttl=None, expires_at=until)) == ENDS


def test_a_fraction_of_the_clock_is_no_second(shared: Any) -> None:
    """`now` is whole seconds, rounded down, read once."""
    token = shared.mint(ttl=600)
    assert [shared.at(offset, token) for offset in (599.999, 600.0, 600.001)] == ENDS


@pytest.mark.parametrize("spelling", ["time < {}", "time-before {}"])
def test_a_requested_bound(shared: Any, instant: Instant, spelling: str) -> None:
    """An issuer's second bound, nearer than the first."""
    assert around(shared, 300, shared.mint(spelling.format(instant(300)))) == ENDS


@pytest.mark.parametrize("spelling", ["time < {}", "time-before {}"])
def test_a_holders_bound(shared: Any, instant: Instant, spelling: str) -> None:
    """Before or after others; a later one than the issuer's changes nothing."""
    token = shared.mint(ttl=600)
    assert around(shared, 300, shared.narrow(token, spelling.format(instant(300)))) == ENDS
    nearer = shared.narrow(token, spelling.format(instant(300)), spelling.format(instant(900)))
    assert around(shared, 300, nearer) == ENDS
    assert around(shared, 600, shared.narrow(token, spelling.format(instant(900)))) == ENDS


@pytest.mark.parametrize("spelling", ["time < {}", "time-before {}"])
def test_a_discharges_bound(shared: Any, instant: Instant, spelling: str) -> None:
    """A discharge ends the whole bundle."""
    assert around(shared, 300, shared.discharged(spelling.format(instant(300)))) == ENDS


def test_a_nested_discharges_bound(shared: Any, instant: Instant) -> None:
    """The innermost one too."""
    outer = shared.discharge("outer", thirds=[("inner", "k")])
    inner = shared.discharge("inner", f"time < {instant(300)}", key="k")
    bundle = shared.bundle(shared.with_thirds(shared.mint(), "outer"), outer, inner)
    assert around(shared, 300, bundle) == ENDS


@pytest.mark.parametrize("where", ["issuer", "holder", "discharge"])
def test_time_from(shared: Any, instant: Instant, where: str) -> None:
    """`time >=` holds from its instant on."""
    caveat = f"time >= {instant(300)}"
    bundle = {
        "issuer": lambda: shared.mint(caveat),
        "holder": lambda: shared.narrow(shared.mint(), caveat),
        "discharge": lambda: shared.discharged(caveat),
    }[where]()
    assert around(shared, 300, bundle) == BEGINS


def test_the_latest_beginning_counts(shared: Any, instant: Instant) -> None:
    """Whichever comes first in the token."""
    for first, second in ((100, 300), (300, 100)):
        token = shared.mint(f"time >= {instant(first)}", f"time >= {instant(second)}")
        assert around(shared, 300, token) == BEGINS


def test_an_interval_and_an_empty_one(shared: Any, instant: Instant) -> None:
    """Where both fail, `expired` is said, whatever the caveats' order."""
    token = shared.narrow(shared.mint(), f"time >= {instant(100)}", f"time < {instant(101)}")
    assert [shared.at(offset, token) for offset in (99, 100, 101)] == ["not-yet-valid", "allowed", "expired"]
    for caveats in (
        (f"time >= {instant(100)}", f"time < {instant(100)}"),
        (f"time < {instant(100)}", f"time >= {instant(100)}"),
    ):
        token = shared.narrow(shared.mint(), *caveats)
        assert around(shared, 100, token) == ["not-yet-valid", "expired", "expired"]
    token = shared.narrow(shared.mint(), f"time >= {instant(200)}", f"time < {instant(100)}")
    assert shared.at(150, token) == "expired"


def test_the_audiences_max_ttl(office: Any) -> None:
    """`iat + max_ttl` ends tokens that are out there already, and lengthening it lets them live on."""
    token = office.mint(ttl=3600)
    office.authority.set_max_ttl("default", 1200)
    assert around(office, 1200, token) == ENDS
    assert office.grant(token).expires_at == datetime.fromtimestamp(NOON + 1200, UTC)
    office.authority.set_max_ttl("default", 7200)
    assert around(office, 1200, token) == ["allowed"] * 3
    assert around(office, 3600, token) == ENDS


def test_max_ttl_counts_from_the_issue(shared: Any, instant: Instant) -> None:
    """Of a token that was never minted so long, by its own issue time."""
    longest = 30 * 86_400
    token = shared.forge(f"time < {instant(90 * 86_400)}")
    assert around(shared, longest, token) == ENDS


def test_an_issue_time_ahead_of_the_clock(shared: Any, instant: Instant) -> None:
    """By 60 seconds it is passed, by 61 not yet valid."""
    bound = f"time < {instant(900)}"
    assert [shared.outcome(shared.forge(bound, iat=NOON + ahead)) for ahead in (59, 60, 61)] == [
        "allowed",
        "allowed",
        "not-yet-valid",
    ]
    assert shared.outcome(shared.forge(f"time < {instant(0)}", iat=NOON + 61)) == "expired"


def test_no_bound_by_the_issuer(shared: Any, instant: Instant) -> None:
    """A holder's or a discharge's does not do, nor `time >=`, nor a malformed one; first of step 6."""
    bound, past = f"time < {instant(900)}", f"time < {instant(0)}"
    assert shared.outcome(shared.forge(bound)) == "allowed"
    assert shared.outcome(shared.forge(f"time-before {instant(900)}")) == "allowed"
    for token in (
        shared.forge(),
        shared.forge(bound, n=0),
        shared.narrow(shared.forge(), bound),
        shared.narrow(shared.forge(), past),
        shared.forge(f"time >= {instant(900)}"),
        shared.forge("time < 2026-11-22T13:00:00"),
        shared.forge("action = read", bound, n=1),
        shared.discharged(bound, token=shared.forge()),
        shared.forge(iat=NOON + 61),
    ):
        assert shared.denial(token) == ("no-expiry", None)


def test_time_before_is_compared_to_the_nanosecond(shared: Any, instant: Instant) -> None:
    """And reported rounded down."""
    base = instant(300)[:-1]
    token = shared.narrow(shared.mint(), f"time-before {base}.000000001Z")
    assert around(shared, 300, token) == ["allowed", "allowed", "expired"]
    assert shared.grant(token).expires_at == datetime.fromtimestamp(NOON + 300, UTC)
    assert around(shared, 300, shared.narrow(shared.mint(), f"time-before {base}.000000000Z")) == ENDS
    both = shared.narrow(shared.mint(), f"time-before {base}.5Z", f"time < {instant(300)}")
    assert around(shared, 300, both) == ENDS


@pytest.mark.parametrize("value", ["{}t", "{}+00:00Z", "{}.Z", "{}.1234567890Z", "{}", "1999-01-01T00:00:00Z"])
def test_a_bad_time_before_is_malformed_and_no_bound(shared: Any, instant: Instant, value: str) -> None:
    """It is refused, never skipped."""
    caveat = "time-before " + value.format(instant(300)[:-1])
    assert shared.outcome(shared.narrow(shared.mint(), f"time-before {instant(300)}")) == "allowed"
    assert shared.denial(shared.narrow(shared.mint(), caveat)) == ("caveat-malformed", caveat)
    assert shared.outcome(shared.forge(caveat)) == "no-expiry"


def test_clock(shared: Any) -> None:
    """`clock >=` from its minute on, `clock <` up to it; both a refusal of step 8."""
    opens = shared.narrow(shared.mint(), "clock >= 12:10")
    closes = shared.narrow(shared.mint(), "clock < 12:10")
    assert around(shared, 600, opens) == ["caveat-refused", "allowed", "allowed"]
    assert around(shared, 600, closes) == ["allowed", "caveat-refused", "caveat-refused"]


def test_weekday(shared: Any) -> None:
    """The day, in UTC, from midnight to midnight."""
    token = shared.mint("weekday = mon", ttl=86_400)
    midnight = 43_200
    assert around(shared, midnight, token) == ["caveat-refused", "allowed", "allowed"]
    token = shared.mint("weekday in fri,sun", ttl=86_400)
    assert around(shared, midnight, token) == ["allowed", "caveat-refused", "caveat-refused"]


@pytest.mark.parametrize("name", ["time", "clock", "weekday"])
def test_a_request_does_not_say_what_time_it_is(shared: Any, name: str) -> None:
    """Nor can it, by any value."""
    values = {"time": "2026-11-22T12:00:00Z", "clock": "12:00", "weekday": "sun"}
    assert shared.outcome(shared.mint()) == "allowed"
    assert shared.outcome(shared.mint(), **{name: values[name]}) == "context-invalid"


def test_the_end_that_is_reported_is_the_earliest(office: Any, instant: Instant) -> None:
    """Of the issuer's, the holder's, the discharges', and `max_ttl`."""
    office.authority.set_max_ttl("default", 3000)
    bounds = {"issuer": 2000, "holder": 2000, "discharge": 2000}
    for nearest in (*bounds, None):
        ends = {**bounds, nearest: 1000} if nearest else dict.fromkeys(bounds, 4000)
        root = office.forge(f"time < {instant(ends['issuer'])}")
        root = office.with_thirds(office.narrow(root, f"time < {instant(ends['holder'])}"), "cid")
        bundle = office.bundle(root, office.discharge("cid", f"time-before {instant(ends['discharge'])}"))
        expected = 1000 if nearest else 3000
        assert office.grant(bundle).expires_at == datetime.fromtimestamp(NOON + expected, UTC)


def test_time_is_judged_anew_for_a_token_seen_before(shared: Any) -> None:
    """Nothing remembered keeps a token alive, nor dead when the clock is set right again."""
    token = shared.mint(ttl=600)
    assert [shared.at(offset, token) for offset in (0, 599, 600, 599, 0)] == [
        "allowed",
        "allowed",
        "expired",
        "allowed",
        "allowed",
    ]
