"""The shapes of bodies about third parties."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from capsvc.http.shape import Shape, check_name
from capsvc.macaroon.location import check_location
from capsvc.macaroon.thirdparty import read_key

__all__ = ["DischargerBody", "DischargerKeysBody"]


class DischargerBody(Shape, frozen=True):
    """POST /v1/dischargers. Keys are 32 octets in standard base64."""

    name: str
    location: str
    public_key: str
    next_public_key: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "name")
        check_location(self.location)
        _check_key(self.public_key, "public_key")
        if self.next_public_key is not None:
            _check_key(self.next_public_key, "next_public_key")


class DischargerKeysBody(Shape, frozen=True):
    """PATCH /v1/dischargers/{name}: what is absent stays as it is, and null takes the next key away."""

    public_key: str | UnsetType = UNSET
    next_public_key: str | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if self.public_key is UNSET and self.next_public_key is UNSET:
            raise ValueError("at least one of public_key and next_public_key is given")
        if isinstance(self.public_key, str):
            _check_key(self.public_key, "public_key")
        if isinstance(self.next_public_key, str):
            _check_key(self.next_public_key, "next_public_key")

    def as_changes(self) -> dict[str, Any]:
        """As ``Authority.set_discharger`` takes them."""
        return {
            "public_key": None if self.public_key is UNSET else self.public_key,
            "next_public_key": None if self.next_public_key is UNSET else self.next_public_key,
            "clear_next": self.next_public_key is None,
        }


def _check_key(text: str, field: str) -> None:
    try:
        read_key(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
