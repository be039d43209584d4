"""Looks up imager, fixed frame and initial pose at the time of an X-ray, on tf2."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from sph_reg_ros.errors import ErrorCode, PoseError
from sph_reg_ros.messages.conversions import MAX_DISTANCE_M, MM_PER_M
from sph_reg_ros.messages.tf_buffer import LookupFailedError, TFBuffer, plain
from sph_reg_ros.messages.xray_view import FramedPose, InitialPose, XRayView
from sph_reg_ros.service.parameters import NodeParameters

_NOT_YET = (ErrorCode.IMAGER_POSE_MISSING, ErrorCode.TRANSFORM_MISSING)


class Frames:
    """Looks up what an X-ray's messages do not say; never the identity, never another time.

    Attributes:
        buffer: to be filled with transforms. It takes in none of the patient's frame: that is ours,
            and an initial pose in it would confirm itself.
    """

    def __init__(self, parameters: Callable[[], NodeParameters]) -> None:
        """Start without transforms; `parameters` gives the present ones."""
        self._parameters = parameters
        self.buffer = TFBuffer(ignored=(plain(parameters().frames.patient),))

    def needed(self, initials: Iterable[InitialPose | None], direct: Collection[str]) -> bool:
        """Return whether transforms are of use.

        Args:
            initials: initial poses that may serve.
            direct: frames of X-rays and of imager poses that came by topic.
        """
        tree = self._parameters()
        known = {*direct, plain(tree.imager_pose.imager_frame)}
        return tree.imager_from_tf or any(
            plain(initial.frame_id) not in known for initial in initials if initial is not None
        )

    def with_imager(self, view: XRayView) -> XRayView:
        """Return a view with the imager's pose at its stamp: its own, or by tf2 if that is asked.

        Raises:
            PoseError: IMAGER_POSE_MISSING if tf2 does not know it.
        """
        if view.imager is not None or not self._parameters().imager_from_tf:
            return view
        return replace(view, imager=self._imager(view.frame_id, view.stamp_ns))

    def seen_from(self, view: XRayView, initial: InitialPose | None) -> InitialPose | None:
        """Return the initial pose in the frame of a view: by its imager pose, else by tf2.

        None if there is none: only the worker knows whether it has networks that need none.

        Raises:
            PoseError: TRANSFORM_MISSING if its frame cannot be related to the view.
        """
        if initial is None:
            return None
        camera_from_own = self._camera_from(
            initial.frame_id, view.frame_id, view.stamp_ns, view.imager
        )
        seen = initial.seen_from(view.frame_id, camera_from_own)
        _require_near(seen.matrix, 'the initial pose is, from the source of the X-rays,')
        return seen

    def known(
        self, frame_id: str, stamp_ns: int, imager: FramedPose | None, initial: InitialPose | None
    ) -> bool:
        """Return whether there is nothing to wait for: all is known, or can never be used.

        Args:
            frame_id: of the X-ray.
            stamp_ns: of the X-ray.
            imager: its pose, if that did not come by tf2.
            initial: rough pose of the patient.
        """
        try:
            if imager is None and self._parameters().imager_from_tf:
                imager = self._imager(frame_id, stamp_ns)
            if initial is not None:
                self._camera_from(initial.frame_id, frame_id, stamp_ns, imager)
        except PoseError as error:
            return error.code not in _NOT_YET
        return True

    def _imager(self, frame_id: str, stamp_ns: int) -> FramedPose:
        fixed, imager = self._parameters().imager_pose.fixed_frame, self._tf_name(frame_id)
        if plain(fixed) in (plain(imager), plain(frame_id)):
            raise PoseError(
                ErrorCode.POSE_INVALID,
                f'imager_pose.fixed_frame {fixed!r} is the frame of the imager itself',
            )
        try:
            matrix = self.buffer.lookup(fixed, imager, stamp_ns)
        except LookupFailedError as error:
            raise PoseError(
                ErrorCode.IMAGER_POSE_MISSING,
                f'tf2 does not tell the pose of the imager at the stamp of the image: {error}',
            ) from None
        _require_near(matrix, f'the imager {imager!r} is, by tf2, from {fixed!r}')
        return FramedPose(fixed, matrix)

    def _tf_name(self, frame_id: str) -> str:
        return self._parameters().imager_pose.imager_frame or frame_id

    def _camera_from(
        self, frame: str, frame_id: str, stamp_ns: int, imager: FramedPose | None
    ) -> Float64[np.ndarray, '4 4']:
        if plain(frame) == plain(frame_id):
            return np.eye(4)
        reference, camera_from_reference = self._tf_name(frame_id), np.eye(4)
        if imager is not None and plain(frame) != plain(reference):
            reference, camera_from_reference = imager.frame_id, np.linalg.inv(imager.matrix)
        try:
            # A frame is related to itself without any transform.
            reference_from_own = self.buffer.lookup(reference, frame, stamp_ns)
        except LookupFailedError as error:
            raise PoseError(
                ErrorCode.TRANSFORM_MISSING,
                f'the initial pose is in frame {frame!r}, which tf2 does not relate to '
                f'{reference!r} at the stamp of the image: {error}',
            ) from None
        return camera_from_reference @ reference_from_own


def _require_near(matrix: Float64[np.ndarray, '4 4'], what: str) -> None:
    distance = float(np.linalg.norm(matrix[:3, 3])) / MM_PER_M
    if distance > MAX_DISTANCE_M:
        raise PoseError(
            ErrorCode.POSE_INVALID,
            f'{what} {distance:.4g} m away: more than {MAX_DISTANCE_M:g} m cannot be',
        )
