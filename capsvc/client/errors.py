"""What goes wrong between a client and the service."""

from __future__ import annotations

__all__ = ["ServiceError"]


class ServiceError(Exception):
    """The service did not do what it was asked: everything but a denial of the token that was asked about.

    ``.status`` is the answer's HTTP status, ``None`` where no answer came. ``.code`` is the service's own
    (``forbidden``, ``caveat-malformed``, …), else ``unavailable`` (not reached, too slow, or failing) or ``bad-answer``
    (what answered is not a capsvc service, or speaks another dialect of it). The message holds no token. ``.caveat`` is
    the text of the caveat that is to blame, where the service names one.
    """

    def __init__(self, status: int | None, code: str, message: str, *, caveat: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.caveat = caveat
