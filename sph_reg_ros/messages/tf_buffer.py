"""A tf2 buffer without ROS: lookup of a chain of transforms at a time, as tf2 does it.

The live node, replays of bags, the demo and the tests look transforms up here. As in tf2, links are
interpolated between two stamps and never extrapolated, static ones hold at any time, and what is
older than the newest transform of a link by more than ten seconds is forgotten and refused.
"""

import bisect
import math
import threading
from collections.abc import Collection

import numpy as np
from jaxtyping import Float64
from transforms3d.quaternions import quat2mat

from sph_reg_ros.messages.conversions import MM_PER_M, nanoseconds
from sph_reg_ros.messages.message_types import Message

CACHE_NS = 10_000_000_000
"""How long transforms are kept, as in tf2."""
MAX_QUATERNION_ERROR = 0.01
"""Of the squared length, as in tf2."""

Matrix = Float64[np.ndarray, '4 4']
_Vector = tuple[float, ...]
_Pose = tuple[_Vector, _Vector]
"""Translation (m) and quaternion (w, x, y, z) of a child in its parent."""


class LookupFailedError(Exception):
    """The transform is not known at that time; the text says which link is missing and when."""


class _Link:
    """Poses of one child in its parent over time; a static one has a single pose."""

    def __init__(self, parent: str, *, static: bool) -> None:
        self.parent, self.static = parent, static
        self.stamps: list[int] = []
        self.poses: list[_Pose] = []

    def add(self, stamp_ns: int, pose: _Pose) -> None:
        if self.static:
            self.stamps, self.poses = [stamp_ns], [pose]
            return
        if self.stamps and stamp_ns < self.stamps[-1] - CACHE_NS:
            return
        index = bisect.bisect_left(self.stamps, stamp_ns)
        replace = index < len(self.stamps) and self.stamps[index] == stamp_ns
        self.stamps[index : index + replace] = [stamp_ns]
        self.poses[index : index + replace] = [pose]
        expired = bisect.bisect_left(self.stamps, self.stamps[-1] - CACHE_NS)
        del self.stamps[:expired], self.poses[:expired]

    def at(self, stamp_ns: int) -> _Pose | None:
        """Return the pose, interpolated; None outside of what was received."""
        if self.static:
            return self.poses[-1]
        index = bisect.bisect_left(self.stamps, stamp_ns)
        if index == len(self.stamps):
            return None
        if self.stamps[index] == stamp_ns:
            return self.poses[index]
        if index == 0:
            return None
        before, after = self.stamps[index - 1], self.stamps[index]
        share = (stamp_ns - before) / (after - before)
        return _interpolate(self.poses[index - 1], self.poses[index], share)

    def span(self) -> str:
        """Return the covered span of time as text."""
        if self.static:
            return 'static'
        return f'oldest {self.stamps[0] / 1e9:.3f} s, newest {self.stamps[-1] / 1e9:.3f} s'


class TFBuffer:
    """Transforms by child frame; thread-safe. Units are those of the core: millimetres."""

    def __init__(self, ignored: Collection[str] = ()) -> None:
        """Start empty; transforms of the child frames `ignored` are not taken in."""
        self._lock = threading.Lock()
        self._edges: dict[str, _Link] = {}
        self._ignored = frozenset(ignored)

    @property
    def empty(self) -> bool:
        """Return whether no transform was taken in."""
        return not self._edges

    def add(self, message: Message, *, static: bool = False) -> None:
        """Take in a TFMessage of /tf or /tf_static; what tf2 would refuse in it is left out."""
        with self._lock:
            for transform in message.transforms:
                parent, child = plain(transform.header.frame_id), plain(transform.child_frame_id)
                pose = _valid_pose(transform.transform)
                if pose is not None and parent and child not in (parent, '', *self._ignored):
                    link = self._link(parent, child, static)
                    link.add(nanoseconds(transform.header.stamp), pose)

    def clear(self) -> None:
        """Forget everything but static transforms, which are sent once."""
        with self._lock:
            self._edges = {child: link for child, link in self._edges.items() if link.static}

    def lookup(self, target: str, source: str, stamp_ns: int) -> Matrix:
        """Return target_from_source (mm) at a time; 0 means the latest that all links have.

        Raises:
            LookupFailedError: it is not known.
        """
        target, source = plain(target), plain(source)
        with self._lock:
            found = self._find(target, source, stamp_ns)
            if found is None:
                raise LookupFailedError(self._reason(target, source, stamp_ns))
            return found

    def _link(self, parent: str, child: str, static: bool) -> _Link:
        link = self._edges.get(child)
        if link is None or (link.parent, link.static) != (parent, static):
            link = self._edges[child] = _Link(parent, static=static)
        return link

    def _find(self, target: str, source: str, stamp_ns: int) -> Matrix | None:
        up, down = self._ancestors(source), self._ancestors(target)
        common = next((frame for frame in up if frame in down), None)
        if common is None:
            return None
        chains = [chain[: chain.index(common)] for chain in (down, up)]
        links = [self._edges[frame] for chain in chains for frame in chain]
        if stamp_ns == 0:
            stamp_ns = min((link.stamps[-1] for link in links if not link.static), default=0)
        to_common = [self._compose(chain, stamp_ns) for chain in chains]
        if to_common[0] is None or to_common[1] is None:
            return None
        return np.linalg.inv(to_common[0]) @ to_common[1]

    def _ancestors(self, frame: str) -> list[str]:
        chain = [frame]
        while chain[-1] in self._edges and self._edges[chain[-1]].parent not in chain:
            chain.append(self._edges[chain[-1]].parent)
        return chain

    def _compose(self, frames: list[str], stamp_ns: int) -> Matrix | None:
        matrix: Matrix = np.eye(4)
        for frame in frames:
            pose = self._edges[frame].at(stamp_ns)
            if pose is None:
                return None
            matrix = _matrix(pose) @ matrix
        return matrix

    def _reason(self, target: str, source: str, stamp_ns: int) -> str:
        if not self._edges:
            return f'no transform was received that connects {source!r} to {target!r}'
        chains = self._ancestors(source), self._ancestors(target)
        if not set(chains[0]) & set(chains[1]):
            return f'no link between {" < ".join(chains[0])} and {" < ".join(chains[1])}'
        links = {frame for chain in chains for frame in chain if frame in self._edges}
        spans = '; '.join(
            f'{self._edges[frame].parent} < {frame} ({self._edges[frame].span()})'
            for frame in sorted(links)
        )
        when = f'{stamp_ns / 1e9:.3f} s' if stamp_ns else 'any one time'
        return f'{source!r} in {target!r} is not known at {when}: {spans}'


def plain(frame: str) -> str:
    """Return a frame's name without the slash that ROS 1 put before it, as tf2 does."""
    return frame.removeprefix('/')


def _valid_pose(transform: Message) -> _Pose | None:
    """Return what a Transform says; None if it is no rigid transform."""
    t, q = transform.translation, transform.rotation
    translation, rotation = (t.x, t.y, t.z), (q.w, q.x, q.y, q.z)
    squared = math.fsum(number * number for number in rotation)
    if not (all(map(math.isfinite, translation)) and abs(squared - 1) < MAX_QUATERNION_ERROR):
        return None
    length = math.sqrt(squared)
    return translation, tuple(number / length for number in rotation)


def _matrix(pose: _Pose) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = quat2mat(pose[1])
    matrix[:3, 3] = np.multiply(pose[0], MM_PER_M)
    return matrix


def _interpolate(first: _Pose, second: _Pose, share: float) -> _Pose:
    """Return what lies between: translations along a line, rotations along the shorter arc."""
    translation = _mix(first[0], second[0], 1 - share, share)
    cosine = math.fsum(a * b for a, b in zip(first[1], second[1], strict=True))
    angle = math.acos(min(abs(cosine), 1.0))
    if math.sin(angle) < 1e-9:
        return translation, first[1]
    weights = math.sin((1 - share) * angle), math.sin(share * angle)
    rotation = _mix(first[1], second[1], weights[0], math.copysign(weights[1], cosine))
    length = math.hypot(*rotation)
    return translation, tuple(number / length for number in rotation)


def _mix(first: _Vector, second: _Vector, a: float, b: float) -> _Vector:
    return tuple(a * x + b * y for x, y in zip(first, second, strict=True))
