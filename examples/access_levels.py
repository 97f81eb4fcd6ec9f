"""Three access levels from one token: readonly, invoice and admin are the same token with more or fewer caveats.

    python examples/access_levels.py

There are no roles to keep in a database: a level is what was taken away. A holder of any level can make a lower one
for somebody else, for five minutes, without asking.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from capsvc import Authority, Denied, Settings, Token

REQUESTS = (
    {"action": "read", "path": "/customers/7"},
    {"action": "read", "path": "/invoices/2026/41"},
    {"action": "write", "path": "/invoices/2026/41"},
    {"action": "delete", "path": "/customers/7"},
)


def levels(admin: Token) -> dict[str, Token]:
    """The levels, made of the administrator's token; each is narrower than the one before."""
    invoice = admin.attenuate("action in read,write", "path under /invoices")
    return {
        "admin": admin,
        "invoice": invoice,
        "readonly": admin.attenuate("action = read"),
        "invoice, readonly, 5 minutes": invoice.attenuate("action = read", ttl=300),
    }


def allowed(authority: Authority, token: Token, request: dict[str, str]) -> bool:
    """Whether a token allows a request."""
    try:
        authority.authorize(str(token), audience="default", context=request)
    except Denied:
        return False
    return True


def main() -> None:
    """Show which level may do what."""
    with tempfile.TemporaryDirectory() as directory, Authority.open(Settings(data_dir=Path(directory, "data"))) as ours:
        admin = Token.parse(ours.mint(audience="default", ttl=3600, subject="ada").token)
        for name, token in levels(admin).items():
            print(f"{name}:")
            for request in REQUESTS:
                answer = "yes" if allowed(ours, token, request) else "no"
                print(f"  {answer:<4}{request['action']} {request['path']}")


if __name__ == "__main__":
    main()
