"""What is mutated, and which tests have to notice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["GROUPS", "ROOT", "Group", "files_of"]

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Group:
    """Modules (files or packages) and the tests that have to notice when one of them is broken."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS: Final[Mapping[str, Group]] = {
    "caveats": Group(("caveats",), ("tests/caveats",)),
    "macaroon": Group(("capsvc/macaroon",), ("tests/macaroon",)),
    "token": Group(("capsvc/token.py",), ("tests/test_token.py", "tests/test_token_slips.py")),
    "decision": Group(
        ("capsvc/decision", "capsvc/authority/decision.py", "capsvc/authority/presented.py"),
        ("tests/authority", "tests/attacks"),
    ),
    "thirdparties": Group(
        (
            "capsvc/authority/registry.py",
            "capsvc/authority/registering.py",
            "capsvc/authority/pins.py",
            "capsvc/authority/keypairs.py",
            "capsvc/authority/exchanging.py",
            "capsvc/authority/descending.py",
        ),
        ("tests/authority", "tests/attacks", "tests/harness/test_moved_rows.py"),
    ),
    "verifiers": Group(
        (
            "capsvc/asgi/asking.py",
            "capsvc/asgi/embedded.py",
            "capsvc/asgi/follower.py",
            "capsvc/asgi/loops.py",
            "capsvc/asgi/prefix.py",
            "capsvc/asgi/remote.py",
        ),
        (
            "tests/asgi/test_asking.py",
            "tests/asgi/test_follower.py",
            "tests/asgi/test_remote.py",
            "tests/asgi/test_same_decision.py",
            "tests/asgi/test_settings.py",
            "tests/asgi/test_trouble.py",
        ),
    ),
    "gateways": Group(
        (
            "capsvc/addresses.py",
            "capsvc/authority/introspecting.py",
            "capsvc/http/forwardauth.py",
            "capsvc/http/introspect.py",
            "capsvc/http/oauth.py",
        ),
        (
            "tests/test_addresses.py",
            "tests/authority/test_introspecting.py",
            "tests/http/test_forward_auth.py",
            "tests/http/test_introspect.py",
            "tests/http/test_revocations.py",
        ),
    ),
}


def files_of(group: Group) -> list[str]:
    """The group's source files, by their paths from the root."""
    found: list[str] = []
    for module in group.modules:
        path = ROOT / module
        found += [str(one.relative_to(ROOT)) for one in sorted(path.rglob("*.py"))] if path.is_dir() else [module]
    return found
