"""A registration that waits for the worker."""

from collections.abc import Callable
from dataclasses import dataclass

from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.service.protocol import ProgressReport


@dataclass(frozen=True)
class PendingRegistration:
    """A registration to be carried out.

    Attributes:
        views: X-rays; several need an imager pose each, all in one fixed frame.
        initial: rough pose of the patient, in the frame of the first view.
        timeout_s: limit for the computation; the node's own if None.
        cancelled: asked all the time; True stops.
        observer: gets the progress.
        single_shot: whether it was asked for by itself, perhaps with X-rays of another time.
    """

    views: tuple[XRayView, ...]
    initial: InitialPose | None
    timeout_s: float | None = None
    cancelled: Callable[[], bool] = lambda: False
    observer: Callable[[ProgressReport], None] = lambda progress: None
    single_shot: bool = False
