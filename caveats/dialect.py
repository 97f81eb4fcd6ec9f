"""The bakery dialect, so that tokens narrowed or discharged by macaroon-bakery tools work.

``time-before <RFC 3339>`` is accepted anywhere, ``declared <name> <value>`` in a discharge. Its other conditions,
``error …`` and those with a namespace's prefix (``x:time-before``), are known for what they are and never met.
"""

from __future__ import annotations

import re
from typing import Final

from caveats.caveat import Declared, TimeBefore
from caveats.errors import CaveatError
from caveats.limits import MAX_DECLARED_NAME_OCTETS, MAX_DECLARED_VALUE_OCTETS, MAX_FRACTION_DIGITS
from caveats.values import Instant

_INSTANT: Final = Instant()
_WORDS: Final = frozenset({"time-before", "declared", "error"})
_PREFIXED: Final = re.compile(r"[a-z][a-z0-9-]*:[!-~]+")
_TIME: Final = re.compile(rf"([0-9T:-]+)(?:\.([0-9]{{1,{MAX_FRACTION_DIGITS}}}))?Z")
_DECLARED_NAME: Final = re.compile(rf"[!-+\--~]{{1,{MAX_DECLARED_NAME_OCTETS}}}")  # all that is visible but the comma
_DECLARED_VALUE: Final = re.compile(rf"[ -~]{{0,{MAX_DECLARED_VALUE_OCTETS}}}")


def is_dialect(word: str) -> bool:
    """Whether a caveat's first word makes it one of the dialect's."""
    return word in _WORDS or (":" in word and _PREFIXED.fullmatch(word) is not None)


def parse_dialect(text: str, *, discharge: bool) -> TimeBefore | Declared:
    """The caveat of the dialect that the text spells; its first word passed `is_dialect`.

    Raises:
        CaveatError: ``caveat-malformed``, or ``caveat-unknown`` for all but ``time-before`` and, in a discharge,
            ``declared``.

    """
    word, _, rest = text.partition(" ")
    if word == "time-before":
        return _parse_time_before(rest, min(len(word) + 1, len(text)))
    if word == "declared" and discharge:
        return _parse_declared(rest, min(len(word) + 1, len(text)))
    if word == "declared":
        raise CaveatError("caveat-unknown", "Only a discharge declares: a token's own facts come from its issuer.", 0)
    raise CaveatError("caveat-unknown", "Of the bakery's conditions only time-before and declared are known.", 0)


def declare(name: str, value: str) -> Declared:
    """What a discharger states: the value of a name.

    Raises:
        CaveatError: ``caveat-malformed``: the name is not 1 to 64 octets 0x21-0x7E without a comma, or the value not up
            to 400 octets 0x20-0x7E.

    """
    return _declared(name, value, None, None)


def _declared(name: str, value: str, name_at: int | None, value_at: int | None) -> Declared:
    if _DECLARED_NAME.fullmatch(name) is None:
        raise CaveatError(
            "caveat-malformed",
            f"A declared name has 1 to {MAX_DECLARED_NAME_OCTETS} visible octets and no comma.",
            name_at,
        )
    if _DECLARED_VALUE.fullmatch(value) is None:
        raise CaveatError(
            "caveat-malformed", f"A declared value has at most {MAX_DECLARED_VALUE_OCTETS} octets 0x20-0x7E.", value_at
        )
    return Declared(name, value)


def _parse_declared(rest: str, offset: int) -> Declared:
    name, space, value = rest.partition(" ")
    if not space:
        raise CaveatError("caveat-malformed", "After a declared name stand a space and its value.", offset + len(name))
    return _declared(name, value, offset, offset + len(name) + 1)


def _parse_time_before(rest: str, offset: int) -> TimeBefore:
    match = _TIME.fullmatch(rest)
    if match is None:
        raise CaveatError("caveat-malformed", "After time-before stands YYYY-MM-DDTHH:MM:SS[.fraction]Z.", offset)
    _INSTANT.parse(f"{match[1]}Z", offset)
    return TimeBefore(_INSTANT.read(f"{match[1]}Z"), match[2] or "")
