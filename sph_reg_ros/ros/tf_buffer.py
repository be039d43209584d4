"""A small tf2 buffer for machines without tf2_ros: lookup of a chain of transforms at a time."""

import bisect
import threading
from collections import deque

import numpy as np
from jaxtyping import Float64
from tf2_msgs.msg import TFMessage
from transforms3d.axangles import axangle2mat, mat2axangle

from sph_reg_ros.ros.conversions import matrix_from_transform, nanoseconds

CACHE_NS = 10_000_000_000
"""How long transforms are kept, as in tf2."""

Matrix = Float64[np.ndarray, '4 4']


class LookupFailedError(Exception):
    """The transform is not known at that time; the text says which link is missing and when."""


class _Edge:
    """Poses of one child in its parent over time."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self.stamps: list[int] = []
        self.matrices: list[Matrix] = []
        self.static = False

    def add(self, stamp_ns: int, matrix: Matrix) -> None:
        if self.stamps and stamp_ns < self.stamps[-1] - CACHE_NS:
            self.stamps, self.matrices = [], []
        index = bisect.bisect_left(self.stamps, stamp_ns)
        replace = index < len(self.stamps) and self.stamps[index] == stamp_ns
        self.stamps[index : index + replace] = [stamp_ns]
        self.matrices[index : index + replace] = [matrix]
        expired = bisect.bisect_left(self.stamps, self.stamps[-1] - CACHE_NS)
        del self.stamps[:expired], self.matrices[:expired]

    def at(self, stamp_ns: int) -> Matrix | None:
        """Return parent_from_child, interpolated; None outside of what was received."""
        if self.static or stamp_ns == 0:
            return self.matrices[-1]
        index = bisect.bisect_left(self.stamps, stamp_ns)
        if index == len(self.stamps):
            return None
        if self.stamps[index] == stamp_ns:
            return self.matrices[index]
        if index == 0:
            return None
        before, after = self.stamps[index - 1], self.stamps[index]
        share = (stamp_ns - before) / (after - before)
        return _interpolate(self.matrices[index - 1], self.matrices[index], share)


class TFBuffer:
    """Transforms by child frame; thread-safe. Units are those of the core: millimetres."""

    def __init__(self) -> None:
        """Start empty."""
        self._changed = threading.Condition()
        self._edges: dict[str, _Edge] = {}

    def add(self, message: TFMessage, *, static: bool = False) -> None:
        """Take in a message of /tf or /tf_static."""
        with self._changed:
            for transform in message.transforms:
                parent, child = transform.header.frame_id, transform.child_frame_id
                edge = self._edges.get(child)
                if edge is None or edge.parent != parent:
                    edge = self._edges[child] = _Edge(parent)
                edge.static = static
                edge.add(
                    nanoseconds(transform.header.stamp), matrix_from_transform(transform.transform)
                )
            self._changed.notify_all()

    def lookup(self, target: str, source: str, stamp_ns: int, timeout_s: float = 0.0) -> Matrix:
        """Return target_from_source (mm) at a time; 0 means the latest of every link.

        Raises:
            LookupFailedError: it did not become known within the timeout.
        """
        with self._changed:
            found: list[Matrix] = []

            def ready() -> bool:
                found[:] = self._find(target, source, stamp_ns)
                return bool(found)

            if not self._changed.wait_for(ready, timeout_s):
                raise LookupFailedError(self._reason(target, source, stamp_ns))
            return found[0]

    def _find(self, target: str, source: str, stamp_ns: int) -> list[Matrix]:
        from_source, from_target = self._ancestors(source), self._ancestors(target)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None:
            return []
        to_common = [
            self._compose(chain[: chain.index(common)], stamp_ns)
            for chain in (from_target, from_source)
        ]
        if to_common[0] is None or to_common[1] is None:
            return []
        return [np.linalg.inv(to_common[0]) @ to_common[1]]

    def _ancestors(self, frame: str) -> list[str]:
        chain = deque([frame])
        while chain[-1] in self._edges and self._edges[chain[-1]].parent not in chain:
            chain.append(self._edges[chain[-1]].parent)
        return list(chain)

    def _compose(self, frames: list[str], stamp_ns: int) -> Matrix | None:
        matrix: Matrix = np.eye(4)
        for frame in frames:
            step = self._edges[frame].at(stamp_ns)
            if step is None:
                return None
            matrix = step @ matrix
        return matrix

    def _reason(self, target: str, source: str, stamp_ns: int) -> str:
        chains = self._ancestors(source), self._ancestors(target)
        if not set(chains[0]) & set(chains[1]):
            return f'no link between {" < ".join(chains[0])} and {" < ".join(chains[1])}'
        links = {frame for chain in chains for frame in chain if frame in self._edges}
        newest = ', '.join(
            f'{self._edges[frame].parent} < {frame}: {self._edges[frame].stamps[-1] / 1e9:.3f}'
            for frame in sorted(links)
        )
        return f'{target} from {source} is not known at {stamp_ns / 1e9:.3f} s; newest: {newest}'


def _interpolate(first: Matrix, second: Matrix, share: float) -> Matrix:
    axis, angle = mat2axangle(second[:3, :3] @ first[:3, :3].T)
    matrix = np.eye(4)
    matrix[:3, :3] = axangle2mat(axis, angle * share) @ first[:3, :3]
    matrix[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
    return matrix
