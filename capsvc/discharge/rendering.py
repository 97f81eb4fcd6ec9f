"""The pages that people see, and the headers that all of them have: no script, no frame, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

__all__ = ["HEADERS", "Header", "Page", "PageError", "message", "render", "stylesheet"]

PAGES: Final = Path(__file__).with_name("pages")

HEADERS: Final = MappingProxyType(
    {
        "cache-control": "no-store",
        "content-security-policy": (
            "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        ),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",  # a page's address holds the visit, a secret
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
)

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(PAGES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    auto_reload=False,
)


Header: TypeAlias = tuple[str, str]


class Page(NamedTuple):
    """A page: its status, template and values, and the headers that not all pages have."""

    status: int
    template: str
    values: Mapping[str, object]
    headers: tuple[Header, ...] = ()


class PageError(Exception):
    """A step cannot go on, and this page says why."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.status)
        self.page = page


def message(status: int, title: str, text: str, *, again: str | None = None, again_text: str = "Go on") -> Page:
    """A page that says something, and leads back to the visit ``again``."""
    values = {"title": title, "text": text, "is_problem": status >= 400, "again": again, "again_text": again_text}
    return Page(status, "message.html", {**values, "logout_form": None})


def render(page: Page, base: str) -> Response:
    """The response. ``base`` is the URL that all of the discharger's own begin with."""
    text = _TEMPLATES.get_template(page.template).render(page.values, base=base)
    response = Response(text, page.status, dict(HEADERS), "text/html")
    for name, value in page.headers:
        response.headers.append(name, value)
    return response


def stylesheet() -> Response:
    """What the pages look like."""
    return Response((PAGES / "style.css").read_bytes(), 200, dict(HEADERS), "text/css")
