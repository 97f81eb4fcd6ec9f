"""What has been revoked, in memory, as a decision asks for it; each entry with the time until when it matters."""

from __future__ import annotations

__all__ = ["Revocations"]


class Revocations:
    """Revoked families, branches and subjects. Read by decisions, written by whoever follows a log of them."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}  # token id -> until when its revocation matters
        self._branches: dict[str, dict[bytes, int]] = {}
        self._subjects: dict[tuple[str, str], tuple[int, int]] = {}  # -> watermark, until when it matters

    def touch(self, token_id: str) -> bool:
        """Whether anything of a family is revoked by itself: all of it, or a branch."""
        return token_id in self._ids or token_id in self._branches

    def id_revoked(self, token_id: str) -> bool:
        """Whether a whole token family is revoked."""
        return token_id in self._ids

    def revoked_branches(self, token_id: str) -> dict[bytes, int] | None:
        """Return the revoked branches of a family, or None: then no branch need be computed."""
        return self._branches.get(token_id)

    def watermark(self, audience: str, subject: str) -> int | None:
        """Return the issue time up to which a subject's tokens are revoked."""
        found = self._subjects.get((audience, subject))
        return None if found is None else found[0]

    def revoke_id(self, token_id: str, until: int) -> None:
        """Take in the revocation of a family; it matters until that time (Unix seconds), as with the others."""
        self._ids[token_id] = until

    def revoke_branch(self, token_id: str, branch: bytes, until: int) -> None:
        """Take in the revocation of a branch (32 octets) of a family."""
        self._branches.setdefault(token_id, {})[branch] = until

    def revoke_subject(self, audience: str, subject: str, before: int, until: int) -> None:
        """Take in the watermark of a subject: its tokens issued at or before that second are revoked."""
        self._subjects[audience, subject] = (before, until)

    def forget(self, before: int) -> None:
        """Drop the revocations whose every token expired before that time, as the sweep did in the store."""
        self._ids = {token_id: until for token_id, until in self._ids.items() if until >= before}
        self._subjects = {who: mark for who, mark in self._subjects.items() if mark[1] >= before}
        kept = {
            token_id: {branch: until for branch, until in branches.items() if until >= before}
            for token_id, branches in self._branches.items()
        }
        self._branches = {token_id: branches for token_id, branches in kept.items() if branches}
