"""Patient identity as a hash: enough to compare, nothing to read."""

import hashlib

_LENGTH = 16


def hashed_identifier(identifier: str | None) -> str:
    """Return the first 16 hex digits of the identifier's SHA-256; '' where there is none.

    DICOM pads values with blanks to an even length, so blanks at both ends do not count.
    """
    text = (identifier or '').strip(' \0')
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH] if text else ''
