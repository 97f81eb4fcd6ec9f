"""What goes wrong between a client and the service, or a third party."""

from __future__ import annotations

__all__ = ["DischargeError", "ServiceError"]


class ServiceError(Exception):
    """The service did not do what it was asked: everything but a denial of the token that was asked about.

    ``.status`` is the answer's HTTP status, ``None`` where no answer came. ``.code`` is the service's own
    (``forbidden``, ``caveat-malformed``, …), else ``unavailable`` (not reached, too slow, or failing) or ``bad-answer``
    (what answered is not a capsvc service, or speaks another dialect of it). The message holds no token. ``.caveat`` is
    the text of the caveat that is to blame, where the service names one. ``.lost``: no connection could be made, or it
    ended before its answer did, so that a question may be asked again.
    """

    def __init__(
        self, status: int | None, code: str, message: str, *, caveat: str | None = None, lost: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.caveat = caveat
        self.lost = lost


class DischargeError(ServiceError):
    """A third party gave no discharge.

    ``.location`` says which, as the token names it. ``.status`` is the HTTP status of what it answered, ``None`` where
    no answer came or none was asked for. ``.code`` is one of

    - ``unavailable``: it was not reached, too slow, or is failing;
    - ``bad-answer``: what answered is no discharger, sent a discharge of something else, would lead elsewhere, or
      passed on another one's login;
    - ``discharger-unknown``: no discharger of that location was named, by the caller or by the issuer;
    - ``interaction-required``: it wants a person or an agent's key, and there is none;
    - ``key-changed``: the token asks it under another key than the one that it is pinned to;
    - ``expired``: its discharge is over already;
    - ``too-large``: the discharges lead to more than the limits allow;
    - its own, in our spelling: ``permission-denied``, ``bad-request``, …; ``discharge-refused`` where it names none.
    """

    def __init__(self, status: int | None, code: str, location: str, message: str) -> None:
        super().__init__(status, code, f"{location}: {message}")
        self.location = location
