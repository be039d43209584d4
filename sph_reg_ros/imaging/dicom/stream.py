"""Opens DICOM files for pydicom, which inflates a deflated one (PS3.5 A.5) whatever its size."""

import io
import zlib
from pathlib import Path

MAX_INFLATED_BYTES = 1 << 28
"""What a deflated file may become: 128 frames of 1024 x 1024 pixels of two bytes."""
_BLOCK_BYTES = 1 << 14  # a block inflates to 16 MB at most


class DicomStream(io.BufferedReader):
    """A file of which all that is left can be had only if it inflates to a bounded size.

    pydicom asks for all that is left in order to inflate it, and for numbers of bytes otherwise.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises OSError."""
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Return bytes; raises ValueError or zlib.error for a rest that must not be inflated."""
        content = super().read(size)
        if size is None or size < 0:
            require_bounded(content)
        return content


def require_bounded(deflated: bytes) -> None:
    """Raise ValueError if this inflates to more than MAX_INFLATED_BYTES; keeps none of it."""
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for start in range(0, len(deflated), _BLOCK_BYTES):
        size += len(inflater.decompress(deflated[start : start + _BLOCK_BYTES]))
        if size > MAX_INFLATED_BYTES:
            raise ValueError(f'the file inflates to more than {MAX_INFLATED_BYTES} bytes')
