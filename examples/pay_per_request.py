"""Pay per request, as L402 does it: whoever has paid an invoice gets one request for it.

    python examples/pay_per_request.py

Somebody who asks the shop for the weather without having paid gets status 402, an invoice and a token. To pay is to
learn a secret, the preimage of a digest that the invoice names: this is how the Lightning network pays, for which
``Bank`` stands in here. The token has a third party's caveat, ``paid sha256:…``, with that digest.

The third party is the cashier, a discharger that answers whoever shows the preimage. It keeps no list of payments, has
no login, and talks to nobody: not to the bank, not to the shop, not to the authority.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import tempfile
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from capsvc import Authority, Denied, Settings, Token
from capsvc.discharge import Declared, Interaction, KeyPair, Refused, create_discharger

SHOP = "https://shop.example"
CASHIER = "https://cashier.example"
CHALLENGE = re.compile(r'L402 macaroon="([^"]+)", invoice="([^"]+)"')
PREIMAGE = "l402-preimage"  # the header that shows it, in hexadecimal


def base64url(octets: bytes) -> str:
    """Octets in base64url, without padding."""
    return urlsafe_b64encode(octets).decode("ascii").rstrip("=")


class Bank:
    """Stands in for the Lightning network: an invoice is a digest, and to pay it is to learn its preimage."""

    def __init__(self) -> None:
        self._preimages: dict[str, str] = {}

    def invoice(self) -> str:
        """A fresh invoice."""
        preimage = secrets.token_bytes(32)
        invoice = f"sha256:{base64url(sha256(preimage).digest())}"
        self._preimages[invoice] = preimage.hex()
        return invoice

    def pay(self, invoice: str) -> str:
        """Pay; the preimage is the receipt."""
        return self._preimages[invoice]


async def has_paid(condition: str, request: Request) -> Declared | Refused | Interaction:
    """The cashier's checker: the condition holds for whoever shows what only paying tells."""
    kind, _, digest = condition.partition(" ")
    if kind != "paid":
        return Refused("the one condition here is: paid sha256:DIGEST")
    try:
        preimage = bytes.fromhex(request.headers.get(PREIMAGE, ""))
    except ValueError:
        return Refused("the preimage is not hexadecimal")
    if not compare_digest(f"sha256:{base64url(sha256(preimage).digest())}".encode(), digest.encode()):
        return Refused("that does not show that this invoice was paid")
    return Declared()


class Shop:
    """Sells the weather. Its authority is in its own process here; another would ask one over HTTP."""

    def __init__(self, authority: Authority, bank: Bank) -> None:
        self._authority = authority
        self._bank = bank
        self._sold: set[str] = set()  # ids of tokens; in a large shop, in a store, until they expire
        self.app = Starlette(routes=[Route("/weather/{city}", self.weather)])

    async def weather(self, request: Request) -> Response:
        """The weather, once for each payment."""
        path = request.scope["raw_path"].decode("latin-1")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            grant = self._authority.authorize(token, audience="default", context={"path": path})
        except Denied:
            return self._payment_required(path)
        if grant.id in self._sold:
            return self._payment_required(path)
        self._sold.add(grant.id)
        return JSONResponse({"city": request.path_params["city"], "weather": "rain"})

    def _payment_required(self, path: str) -> Response:
        invoice = self._bank.invoice()
        minted = self._authority.mint(
            audience="default",
            ttl=600,
            caveats=[f"path = {path}"],
            third_party=[{"location": CASHIER, "condition": f"paid {invoice}"}],
        )
        return Response(
            status_code=402, headers={"WWW-Authenticate": f'L402 macaroon="{minted.token}", invoice="{invoice}"'}
        )


class Customer:
    """Asks, pays where that is asked for, and asks again."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, path: str, bundle: str = "") -> httpx.Response:
        """One request, with what was paid for, if anything was."""
        return await self._http.get(SHOP + path, headers={"Authorization": f"Bearer {bundle}"} if bundle else {})

    async def discharge(self, token: str, preimage: str) -> str:
        """What the shop takes for a payment: the token, and bound to it the cashier's discharge.

        The cashier is the one that the customer knows, whatever the token says of where it is.
        """
        root = Token.parse(token)
        (caveat,) = root.third_parties
        answer = await self._http.post(
            f"{CASHIER}/discharge", data={"id64": base64url(caveat.id)}, headers={PREIMAGE: preimage}
        )
        if answer.status_code != 200:
            raise PermissionError(answer.json()["Message"])
        return str(root.bind(Token.parse(json.dumps(answer.json()["Macaroon"]["m"]))))


def challenge(answer: httpx.Response) -> tuple[str, str]:
    """The token and the invoice in an answer that asks for payment."""
    found = CHALLENGE.fullmatch(answer.headers["www-authenticate"])
    assert found is not None
    return found[1], found[2]


async def story(authority: Authority) -> None:
    """Ask, pay, ask again; and try to do without paying."""
    bank, key = Bank(), KeyPair.generate()
    authority.add_discharger(name="cashier", location=CASHIER, public_key=b64encode(key.public).decode("ascii"))
    (shops_key,) = [ours.public_key for ours in authority.bakery_keys()]
    cashier = create_discharger(has_paid, key=key, location=CASHIER, trust=[shops_key])
    places = {SHOP: Shop(authority, bank).app, CASHIER: cashier}
    async with httpx.AsyncClient(mounts={place: httpx.ASGITransport(app) for place, app in places.items()}) as http:
        customer = Customer(http)

        answer = await customer.ask("/weather/oslo")
        token, invoice = challenge(answer)
        print("without paying:          ", answer.status_code)
        print("the token alone:         ", (await customer.ask("/weather/oslo", token)).status_code)
        for preimage in ("", bank.pay(bank.invoice())):
            try:
                await customer.discharge(token, preimage)
            except PermissionError as refused:
                print("without its preimage:    ", refused)

        bundle = await customer.discharge(token, bank.pay(invoice))
        print("paid, for another city:  ", (await customer.ask("/weather/rome", bundle)).status_code)
        print("paid:                    ", (await customer.ask("/weather/oslo", bundle)).text)
        print("a second time:           ", (await customer.ask("/weather/oslo", bundle)).status_code)


def main() -> None:
    """Tell the story, with an authority that is gone afterwards."""
    with tempfile.TemporaryDirectory() as directory, Authority.open(Settings(data_dir=Path(directory, "data"))) as ours:
        asyncio.run(story(ours))


if __name__ == "__main__":
    main()
