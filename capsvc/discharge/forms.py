"""Requests of browsers: forms read strictly, cookies that no other host can set, posts from our own pages alone."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from capsvc.discharge.callers import is_loopback

__all__ = [
    "FormError",
    "cookie",
    "expired_cookie",
    "is_from",
    "page_origin",
    "read_form",
    "read_query",
    "same",
    "set_cookie",
]

MAX_FORM_OCTETS: Final = 16_384  # a password of 1,024 characters of UTF-8, percent-encoded, has 12 KiB
MAX_FIELDS: Final = 8
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_FORM: Final = re.compile(
    r'application/x-www-form-urlencoded(?:[ \t]*;[ \t]*charset=(?:utf-8|"utf-8"))?', re.IGNORECASE
)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{22}|[A-Za-z0-9_-]{43}")  # 128 or 256 bits
_ATTRIBUTES: Final = "; Path=/; Secure; HttpOnly; SameSite=Lax"


class FormError(ValueError):
    """A form or a query that none of our pages sends; the message repeats nothing of it. ``.status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_form(request: Request, *names: str) -> Mapping[str, str]:
    """The fields of a form, each of those named once and no other. Raises `FormError`."""
    types = request.headers.getlist("content-type")
    if len(types) != 1 or _FORM.fullmatch(types[0]) is None or "content-encoding" in request.headers:
        raise FormError(415, "What was sent is no form.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_OCTETS:
            raise FormError(413, "What was sent is too large.")
    return _fields(body, names)


def read_query(request: Request, *names: str) -> Mapping[str, str]:
    """The parameters of a query, each of those named once and no other. Raises `FormError`."""
    return _fields(request.scope["query_string"], names)


def page_origin(location: str) -> str:
    """The origin of pages below a URL, as a browser spells it.

    Raises:
        ValueError: a browser would not keep our cookies there.

    """
    parts = urlsplit(location)
    scheme, host = parts.scheme.lower(), parts.hostname or ""
    if scheme != "https" and not (scheme == "http" and is_loopback(host)):
        raise ValueError("people log in over https, or over http at a loopback address: browsers keep no cookie else")
    port = "" if parts.port in {None, DEFAULT_PORTS[scheme]} else f":{parts.port}"
    return f"{scheme}://[{ipaddress.IPv6Address(host)}]{port}" if ":" in host else f"{scheme}://{host}{port}"


def is_from(request: Request, origin: str) -> bool:
    """Whether a request comes from a page of that origin, as far as the browser says.

    It says so in Sec-Fetch-Site and in Origin. Our pages forbid the Referer, and with it Origin is ``null``: that is
    right beside ``same-origin`` alone. A program that is no browser may say nothing.
    """
    sites = request.headers.getlist("sec-fetch-site")
    if any(site != "same-origin" for site in sites):
        return False
    return all(given == origin or (given == "null" and sites) for given in request.headers.getlist("origin"))


def same(given: str, expected: str) -> bool:
    """Compare secrets in a time that tells nothing of them."""
    return secrets.compare_digest(given.encode(), expected.encode())


def cookie(request: Request, name: str) -> str | None:
    """A cookie's value if it has but one and that is written as our secrets are; None else."""
    pairs = [pair.strip(" \t").partition("=") for line in request.headers.getlist("cookie") for pair in line.split(";")]
    values = {value for key, _, value in pairs if key == name}
    value = values.pop() if len(values) == 1 else ""
    return value if _SECRET.fullmatch(value) else None


def set_cookie(name: str, value: str) -> tuple[str, str]:
    """The header that sets a cookie: for this host alone, over TLS or loopback, until the browser is closed.

    Lax, not Strict: a visit is often opened by a link in another site's page, and it is a GET, which changes nothing.
    """
    return "set-cookie", f"{name}={value}{_ATTRIBUTES}"


def expired_cookie(name: str) -> tuple[str, str]:
    """The header that removes it."""
    return "set-cookie", f"{name}={_ATTRIBUTES}; Max-Age=0"


def _fields(text: bytes, names: tuple[str, ...]) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise FormError(400, "What was sent cannot be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or fields.keys() != set(names):
        raise FormError(400, "What was sent is not what this address takes.")
    return fields
