"""Looks up transforms as a downstream node does, by tf2_ros where it is installed."""

from typing import Any

import numpy as np
from jaxtyping import Float64
from rclpy.node import Node
from rclpy.time import Time

from sph_reg_ros.messages.conversions import matrix_from_transform
from sph_reg_ros.messages.tf_buffer import LookupFailedError, TFBuffer
from sph_reg_ros.ros.transforms import TransformListener, tf2_ros


class TransformLookup:
    """Listens to /tf with a node that somebody else spins."""

    def __init__(self, node: Node) -> None:
        """Start to listen."""
        self._tf2: Any = None
        self._buffer = TFBuffer()
        if tf2_ros is not None:
            self._tf2 = tf2_ros.Buffer(node=node)
            self._listener = tf2_ros.TransformListener(self._tf2, node, spin_thread=False)
        else:
            self._listener = TransformListener(node, self._buffer)

    @property
    def description(self) -> str:
        """Return what answers: tf2_ros or the package's own buffer."""
        return 'own buffer of /tf' if self._tf2 is None else 'tf2_ros'

    def at(self, target: str, source: str, stamp_ns: int) -> Float64[np.ndarray, '4 4']:
        """Return target_from_source (mm) at a time; raises LookupFailedError if it is not known."""
        if self._tf2 is None:
            return self._buffer.lookup(target, source, stamp_ns)
        try:
            found = self._tf2.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except tf2_ros.TransformException as error:
            raise LookupFailedError(str(error)) from None
        return matrix_from_transform(found.transform)
