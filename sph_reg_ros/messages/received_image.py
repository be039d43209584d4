"""Received images, decoded once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from sph_reg_ros.errors import ErrorCode, ImageError
from sph_reg_ros.imaging.xray.compressed_image import decode_image
from sph_reg_ros.messages.conversions import NANOSECONDS, nanoseconds
from sph_reg_ros.messages.image_conversions import array_from_image
from sph_reg_ros.messages.message_types import Message


@dataclass(frozen=True)
class ReceivedImage:
    """An Image or CompressedImage whose pixels were read.

    Attributes:
        header: of the message.
        pixels: [H, W] uint8, uint16 or float32, raw values.
        warnings: what was lost on the way.
    """

    header: Message
    pixels: Shaped[np.ndarray, 'H W']
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, message: Message) -> 'ReceivedImage':
        """Decode an Image or a CompressedImage; raises ImageError."""
        require_header(message)
        if hasattr(message, 'format'):
            pixels, warnings = decode_image(bytes(message.data), message.format)
            return cls(message.header, pixels, warnings)
        return cls(message.header, array_from_image(message))

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        height, width = self.pixels.shape
        return height, width


def require_header(image: Message) -> int:
    """Return the stamp (ns) of an image; raises ImageError if its header cannot be used."""
    stamp = image.header.stamp
    if not image.header.frame_id:
        raise ImageError(ErrorCode.IMAGE_LAYOUT, 'header.frame_id of the image is empty')
    if nanoseconds(stamp) <= 0 or stamp.nanosec >= NANOSECONDS:
        raise ImageError(
            ErrorCode.IMAGE_LAYOUT,
            f'the image has no usable stamp: {stamp.sec}, {stamp.nanosec}',
        )
    return nanoseconds(stamp)
