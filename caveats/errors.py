"""What the language refuses, in three classes of ValueError.

``CaveatError``        a caveat: its text, or the values that it should be built from
``ContextError``       a request's context, which caveats are checked against
``DeclarationError``   an attribute that an operator declares
"""

from __future__ import annotations

from typing import Final

_QUOTED_CHARACTERS: Final = 40


class CaveatError(ValueError):
    """A caveat that is not accepted; ``str()`` says what would be right, and never repeats the caveat.

    ``.code`` is ``caveat-malformed``, ``caveat-unknown`` or ``fact-conflict``; ``.position`` the index of the octet
    where what is wrong begins, None where no text was read.
    """

    def __init__(self, code: str, message: str, position: int | None = None) -> None:
        super().__init__(code, message, position)
        self.code = code
        self.message = message
        self.position = position

    def __str__(self) -> str:
        return self.message


class ContextError(ValueError):
    """A context that is not well formed; ``.name`` is the attribute to blame, as it came, ``.code`` the decision's."""

    code: Final = "context-invalid"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"{quoted(self.name)}: {self.message}"


class DeclarationError(ValueError):
    """An attribute that cannot be declared so; ``.name`` is its name, as it came."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"attribute {quoted(self.name)}: {self.message}"


def quoted(name: object) -> str:
    """A name from outside as it may be shown: ASCII, in quotes, nothing at all of a long one."""
    return ascii(name) if isinstance(name, str) and len(name) <= _QUOTED_CHARACTERS else "(a name of another kind)"


def sentence(error: ValueError) -> str:
    """What a value type says would be right, as a sentence."""
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
