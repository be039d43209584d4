"""What a file is by its content, where it is none of the formats that X-rays are read from."""

from pathlib import Path

from sph_reg_ros.errors import ErrorCode, ImageError

READABLE = 'DICOM (XA, RF, DX, CR), PNG, TIFF, JPEG, BMP and NumPy .npy'
START_BYTES = 512
_AS_IMAGE = 'save the image as 16 bit PNG or TIFF, or as .npy'
_AS_ARRAY = 'save the one array by numpy.save'
# The rows of these run in an order that depends on who wrote them: a guess would mirror the image.
_KINDS = (
    (b'PK\x03\x04', 'a zip archive, such as NumPy .npz', _AS_ARRAY),
    (b'NRRD', 'NRRD', _AS_IMAGE),
    (b'ObjectType', 'MetaImage (.mha, .mhd)', _AS_IMAGE),
    (b'NDims', 'MetaImage (.mha, .mhd)', _AS_IMAGE),
    (b'\x1f\x8b', 'compressed by gzip, such as NIfTI .nii.gz', _AS_IMAGE),
    (b'\x5c\x01\x00\x00', 'NIfTI', _AS_IMAGE),
    (b'\x00\x00\x01\x5c', 'NIfTI', _AS_IMAGE),
    (b'\x1c\x02\x00\x00', 'NIfTI', _AS_IMAGE),
    (b'\x89HDF', 'HDF5', _AS_ARRAY),
    (b'MATLAB', 'a MATLAB file', _AS_IMAGE),
    (b'GIF8', 'GIF', _AS_IMAGE),
    (b'RIFF', 'RIFF, such as WebP', _AS_IMAGE),
    (b'\x00\x00\x00\x0cjP', 'JPEG 2000 without DICOM', _AS_IMAGE),
    (b'%PDF', 'PDF', _AS_IMAGE),
)


def not_read(name: str, what: str, advice: str = '') -> ImageError:
    """Return the error of a file that is of no readable format."""
    return ImageError(
        ErrorCode.IMAGE_UNREADABLE,
        f'{name} is {what}; X-rays are read from {READABLE}{": " if advice else ""}{advice}',
    )


def require_no_other_kind(path: Path, start: bytes) -> None:
    """Raise ImageError IMAGE_UNREADABLE if a file is known to hold something else.

    Args:
        path: of the file.
        start: its first START_BYTES.
    """
    if not start:
        raise not_read(path.name, 'empty', 'copy or export it again')
    for mark, kind, advice in _KINDS:
        if start.startswith(mark):
            raise not_read(path.name, kind, advice)
    if _is_text(start):
        raise not_read(path.name, 'text')


def _is_text(start: bytes) -> bool:
    # The last letter may be cut in two.
    text = start.decode('utf-8', 'ignore')
    complete = len(text.encode()) > len(start) - 4
    return complete and all(letter.isprintable() or letter in '\t\r\n' for letter in text)
