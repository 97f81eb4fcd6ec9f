"""Discharges of discharges, made by others' dischargers: how deep and how many, with the whole service."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capsvc.client import DischargeError
from capsvc.macaroon.bundle import MAX_DEPTH, MAX_DISCHARGES, split

from .libraries import Discharger, third
from .service import Service

Gather = Callable[[str], str]
Both = tuple[Discharger, Discharger]


def a_tree(first: Discharger, second: Discharger, depth: int, discharges: int) -> str:
    """Have two dischargers send on to each other, so deep and so many in all; the condition that begins it.

    The first is sent to by the root; what goes beyond the depth are leaves below the first discharge.
    """
    names = [f"{number} of {depth}, {discharges} in all" for number in range(1, depth + 1)]
    hands = [(first, second)[number % 2] for number in range(depth)]
    leaves = []
    for number in range(discharges - depth):
        leaf = f"leaf {number}"
        second.answers(leaf)
        leaves.append(third(second, leaf))
    for number in range(depth):
        deeper = [third(hands[number + 1], names[number + 1])] if number + 1 < depth else []
        hands[number].answers(names[number], *deeper, *(leaves if number == 0 else []))
    return names[0]


@pytest.mark.parametrize(("depth", "discharges"), [(MAX_DEPTH, MAX_DEPTH), (MAX_DEPTH, MAX_DISCHARGES)])
def test_as_deep_and_as_many_as_may_be(
    service: Service,
    both: Both,
    gather_by_all: Gather,
    depth: int,
    discharges: int,
) -> None:
    """Four deep, and sixteen in all, whoever gathers them: allowed, and not with one of them left out."""
    python_discharger, go_discharger = both
    service.register(go_discharger)  # our client asks nobody whom the issuer does not know
    condition = a_tree(python_discharger, go_discharger, depth, discharges)
    bundle = gather_by_all(service.asking(python_discharger, condition))
    assert len(split(bundle)) == 1 + discharges
    service.allows(bundle)
    parts = bundle.split("~")
    assert service.decide("~".join(parts[:-1]))["code"] == "discharge-missing"


@pytest.mark.parametrize(("depth", "discharges"), [(MAX_DEPTH + 1, MAX_DEPTH + 1), (MAX_DEPTH, MAX_DISCHARGES + 1)])
def test_deeper_or_more_is_too_large(
    service: Service,
    both: Both,
    library_gather: Gather,
    depth: int,
    discharges: int,
) -> None:
    """Their clients gather without bound; the service refuses five deep and seventeen in all. Ours stops before."""
    python_discharger, go_discharger = both
    condition = a_tree(go_discharger, python_discharger, depth, discharges)
    bundle = library_gather(service.asking(go_discharger, condition))
    assert bundle.count("~") == discharges
    assert service.decide(bundle)["code"] == "too-large"
    service.register(python_discharger)
    with pytest.raises(DischargeError) as refused:
        service.by_auth(service.asking(go_discharger, condition))
    assert refused.value.code == "too-large"
