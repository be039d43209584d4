"""Builds requests to the worker from matched views."""

from sph_reg_ros.errors import CTError, ErrorCode, PoseError
from sph_reg_ros.messages.conversions import NANOSECONDS
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.protocol import Register, RegisterView, StreamFrame


def register_request(
    ct_hash: str,
    views: tuple[XRayView, ...],
    initial: InitialPose | None,
    parameters: NodeParameters,
    *,
    drr: bool = False,
    overlay: bool = False,
    stream: int | None = 0,
) -> Register:
    """Return the request to register a CT to views.

    Args:
        ct_hash: of the CT that the worker has; '' if it has none.
        views: X-rays; several need an imager pose each, all in one fixed frame.
        initial: rough pose of the patient, in the frame of the first view (`Frames.seen_from`).
        parameters: of the node.
        drr: ask for the rendering at the pose that is found.
        overlay: ask for its picture.
        stream: number of the stream whose frame the view is; None: of none, so that it is
            registered by itself whatever the parameters say of tracking.

    Raises:
        CTError: CT_NOT_LOADED.
        PoseError: imager poses in several frames.
    """
    if not ct_hash:
        raise no_ct()
    if len(views) > 1 and len({v.imager.frame_id for v in views if v.imager}) > 1:
        raise PoseError(
            ErrorCode.POSE_INVALID, 'the imager poses of several views must share one frame'
        )
    return Register(
        views=tuple(
            RegisterView(v.pixels, v.K, v.imager.matrix if v.imager else None, v.lens)
            for v in views
        ),
        initial_camera_from_ct=None if initial is None else initial.matrix,
        initial_covariance=None if initial is None else initial.covariance,
        config=parameters.registration.config,
        image=parameters.image,
        drr=drr,
        overlay=overlay,
        frame=_frame(views, parameters, stream),
        target=parameters.registration.target,
    )


def _frame(
    views: tuple[XRayView, ...], parameters: NodeParameters, stream: int | None
) -> StreamFrame | None:
    if stream is None or len(views) > 1 or not parameters.tracking.enabled:
        return None
    time_s = views[0].stamp_ns / NANOSECONDS
    return StreamFrame(stream, time_s, parameters.tracking.config)


def no_ct() -> CTError:
    """Return the error of a node that has no CT."""
    return CTError(ErrorCode.CT_NOT_LOADED, 'no CT is loaded: set ct.path or call ~/load_ct first')
