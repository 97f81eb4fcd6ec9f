"""What the service does, callable without HTTP."""

from capsvc.authority.authority import Authority
from capsvc.authority.credential import Credential
from capsvc.authority.installation import DEFAULT_AUDIENCE

__all__ = ["DEFAULT_AUDIENCE", "Authority", "Credential"]
