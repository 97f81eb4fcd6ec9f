"""What some tests need that not every machine has."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["missing"]


def missing(what: str) -> NoReturn:
    """Skip for want of something; where everything has to be there (``CAPSVC_TEST_REQUIRE=all``), fail."""
    if os.environ.get("CAPSVC_TEST_REQUIRE") == "all":
        pytest.fail(what)
    pytest.skip(what)
