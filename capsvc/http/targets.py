"""What a request acts on, as ``for.…`` caveats see it (the table of section 7). ``None`` counts as absent."""

from __future__ import annotations

from collections.abc import Mapping

from capsvc.grants import Fact, TokenRow, TokenTarget

__all__ = ["Target", "of_audience", "of_mint", "of_subject", "of_token"]

Target = Mapping[str, Fact | None]


def of_audience(name: str) -> Target:
    """Verify, audiences, keys, revocation by key."""
    return {"for.audience": name}


def of_subject(audience: str, subject: str) -> Target:
    """Revocation by subject."""
    return {"for.audience": audience, "for.sub": subject}


def of_token(token: TokenRow | TokenTarget) -> Target:
    """Token rows, revocation by id or token."""
    return {**_facts(token.facts), "for.audience": token.audience, "for.sub": token.subject}


def of_mint(audience: str, subject: str | None, ttl: int, facts: Mapping[str, Fact]) -> Target:
    """Mint; ``ttl`` in seconds. A fact never takes the place of one of the three."""
    return {**_facts(facts), "for.audience": audience, "for.sub": subject, "for.ttl": ttl}


def _facts(facts: Mapping[str, Fact]) -> dict[str, Fact | None]:
    return {f"for.{name}": value for name, value in facts.items()}
