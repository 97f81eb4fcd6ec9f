"""What the service does, callable without HTTP."""

from capsvc.authority.authority import Authority
from capsvc.authority.credential import Credential

__all__ = ["Authority", "Credential"]
