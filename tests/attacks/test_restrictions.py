"""Caveats of roots and of discharges of every kind restrict: one more never allows what was denied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .nesting import asked

CAVEATS = [
    "action = read",
    "action in read,write",
    "floor = 1",
    "floor >= 2",
    "path under /a",
    "clock < 12:01",
    "sub = ada",
    "sub = bo",
    "time < 2026-11-22T12:10:00Z",
    "time-before 2026-11-22T12:00:30.25Z",
    "time >= 2026-11-22T12:00:01Z",
    "colour = red",
    "nonsense",
    "declared u ada",
    "declared u bo",
    "declared x y",
]
LISTS = st.lists(st.sampled_from(CAVEATS), max_size=3)
PLACES = ("root", "discharge", "nested", "own")


class Asking:
    """A root on which a login is asked, and its holder's own third party."""

    def __init__(self, office: Any) -> None:
        self._office = office
        self._login = office.register()
        self._root = office.mint(subject="ada", third_party=[self._login.asks("c", "u")])

    def outcome(self, written: dict[str, Sequence[str]], context: dict[str, object], later: float = 0) -> str:
        """What is decided of it with caveats in each of the bundle's macaroons."""
        office = self._office
        token = office.with_thirds(office.narrow(self._root, *written["root"]), "mine")
        outer = asked(self._login.discharge(token, *written["discharge"], u="ada"), ("nested", "k"))
        inner = office.discharge("nested", *written["nested"], key="k")
        own = office.discharge("mine", *written["own"])
        return str(office.at(later, office.bundle(token, outer, inner, own), **context))


@pytest.fixture(scope="module")
def asking(shared: Any) -> Asking:
    """One that is asked again and again."""
    return Asking(shared)


@settings(max_examples=400, deadline=None)
@given(
    written=st.fixed_dictionaries(dict.fromkeys(PLACES, LISTS)),
    place=st.sampled_from(PLACES),
    added=st.sampled_from(CAVEATS),
    at=st.integers(0, 3),
    context=st.fixed_dictionaries(
        {},
        optional={
            "action": st.sampled_from(["read", "write"]),
            "floor": st.integers(0, 3),
            "path": st.sampled_from(["/a", "/b"]),
        },
    ),
    later=st.sampled_from([0, 30.25, 59, 60, 600]),
)
def test_a_caveat_more_never_widens(
    *,
    asking: Asking,
    written: dict[str, Sequence[str]],
    place: str,
    added: str,
    at: int,
    context: dict[str, object],
    later: float,
) -> None:
    """In the root, in the issuer's, a nested and a holder's discharge, wherever it stands: what was denied stays so."""
    before = asking.outcome(written, context, later)
    more = {**written, place: [*written[place][:at], added, *written[place][at:]]}
    after = asking.outcome(more, context, later)
    assert before == "allowed" or after != "allowed"


@pytest.mark.parametrize("place", PLACES)
def test_a_restriction_counts_wherever_it_stands(asking: Asking, place: str) -> None:
    """The positive control of the property: each of the four denies by what is written in it, and by nothing else."""
    written: dict[str, Sequence[str]] = {**dict.fromkeys(PLACES, ()), place: ["floor = 1"]}
    assert asking.outcome(written, {"floor": 1}) == "allowed"
    assert asking.outcome(written, {"floor": 2}) == "caveat-refused"
    assert asking.outcome(written, {}) == "context-missing"
