"""What the language's tests share."""

from __future__ import annotations

import pytest

from caveats import Vocabulary


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """The built-in attributes and one of each type that an operator might declare."""
    return Vocabulary.from_declarations(
        {
            "floor": {"type": "integer"},
            "geo.zone": {"type": "word"},
            "plan": {"type": "word", "values": ["free", "team"]},
            "tenant": {"type": "word", "fact": True},
            "built": {"type": "instant"},
            "opens": {"type": "clock"},
            "body": {"type": "digest"},
        }
    )
