"""Look at your photos: the client of `photo_service.py`, which needs a person once in a while.

    CAPSVC_URL=$(cat capsvc-data/serve.url) python examples/photo_client.py albums.token http://127.0.0.1:8716

It shows the address at which somebody has to log in and consent, and waits. What comes of it is kept in memory and is
good for five minutes: the second request needs nobody. Which dischargers may be asked is the authority's word, at its
``/.well-known/capsvc``; neither the token nor the photo service can send the program anywhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

from capsvc.client import CapabilityAuth, DischargeError


def ask_person(address: str) -> None:
    """Tell whoever is there what to visit; `webbrowser.open` could do it for him."""
    print(f"Log in, and say that it was you who began this: {address}", flush=True)


def main(token_file: str, service: str) -> None:
    """Show the photos of whoever logs in, twice."""
    auth = CapabilityAuth(
        Path(token_file).read_text(encoding="ascii"),
        service,
        issuer=os.environ["CAPSVC_URL"],
        visit=ask_person,
        narrow=True,  # each request carries a token for itself alone
    )
    with httpx.Client(base_url=service, auth=auth) as http:
        for _ in range(2):
            try:
                answer = http.get("/album").raise_for_status()
            except DischargeError as error:
                sys.exit(f"no photos: {error}")
            album = answer.json()
            print(f"{album['owner']}: {', '.join(album['photos'])}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
