"""Every bound of the caveat language, with its unit in the name (contract, section 4)."""

from __future__ import annotations

from typing import Final

MAX_CAVEAT_OCTETS: Final = 512
MAX_ATTRIBUTE_OCTETS: Final = 64
MAX_LIST_VALUES: Final = 64
MAX_INTEGER_DIGITS: Final = 18
MAX_WORD_OCTETS: Final = 128
MAX_LABEL_OCTETS: Final = 63  # RFC 1035, section 2.3.4
MAX_HOST_OCTETS: Final = 253  # what RFC 1035's 255 octets on the wire leave for text
MAX_CAVEAT_PATH_OCTETS: Final = 256
MAX_REQUEST_PATH_OCTETS: Final = 2048
MAX_DECLARED_NAME_OCTETS: Final = 64
MAX_DECLARED_VALUE_OCTETS: Final = 400
MAX_FRACTION_DIGITS: Final = 9  # of `time-before`: nanoseconds, as Go writes them

NANOSECONDS: Final = 1_000_000_000  # in a second
