"""THE normal form of a path: one function for caveats, middleware, gateway and verify.

It judges the target's path as it was sent (ASGI's ``raw_path``), without the query. Nothing is ever repaired: two
programs that repair differently see two resources, and the stricter of them is no guard (RFC 3986, section 6.2.2).
"""

from __future__ import annotations

import re
import string
from typing import Final
from urllib.parse import unquote_to_bytes

from caveats.limits import MAX_REQUEST_PATH_OCTETS

# RFC 3986's pchar and "/". Unrolled, so that each character has one way to match and nothing backtracks.
_PLAIN: Final = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]*"
_CHARACTERS: Final = re.compile(rf"/{_PLAIN}(?:%[0-9A-F]{{2}}{_PLAIN})*")
_DOT_SEGMENT: Final = re.compile(r"/\.\.?(?:/|;|%3B|\Z)")
_ESCAPE: Final = re.compile(r"%(..)")

# Unreserved characters (RFC 3986, section 2.3) have a plain spelling; the others a program along the way might take
# for structure.
_NEVER_ESCAPED: Final = frozenset(
    string.ascii_letters + string.digits + "-._~" + "/\\%?#" + "\x7f" + "".join(map(chr, range(0x20)))
)
_C1_CONTROLS: Final = re.compile(r"[\x80-\x9f]")


def normal_path(raw: str | bytes, limit: int = MAX_REQUEST_PATH_OCTETS) -> str:
    """The path, if it is in normal form.

    Args:
        raw: the path as it was sent, without the query.
        limit: how many octets it may have.

    Raises:
        ValueError: it is not in normal form; the message says which rule it breaks.

    """
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    if len(text) > limit:
        raise ValueError(f"a path has at most {limit} octets")
    if _CHARACTERS.fullmatch(text) is None:
        raise ValueError("a path begins with / and holds RFC 3986's path characters and upper-case %XX escapes alone")
    if "//" in text:
        raise ValueError("a path has no empty segment, so no //")
    if "/." in text and _DOT_SEGMENT.search(text):
        raise ValueError("a path has no segment . or .., alone or followed by a semicolon")
    if "%" in text:
        _check_escapes(text)
    return text


def _check_escapes(text: str) -> None:
    """Raises ValueError unless every escape is of a character that needs one, in UTF-8."""
    if any(chr(int(digits, 16)) in _NEVER_ESCAPED for digits in _ESCAPE.findall(text)):
        raise ValueError("a path escapes no unreserved character, no control and none of / \\ % ? #")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("a path's escapes decode to valid UTF-8") from None
    if _C1_CONTROLS.search(decoded):
        raise ValueError("a path escapes no control, U+0080 to U+009F included")
