"""Registers the messages of a bag by the handlers of the node, without ROS, image by image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from sph_reg_ros.errors import RegistrationError, registration_error
from sph_reg_ros.messages.message_types import Message
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.replay.bag_messages import bag_message
from sph_reg_ros.replay.bag_reader import Event
from sph_reg_ros.replay.bag_stream import BagStream
from sph_reg_ros.service.parameters import NodeParameters
from sph_reg_ros.service.protocol import Registered
from sph_reg_ros.service.requests import register_request
from sph_reg_ros.service.result_messages import refusal_message, result_message, view_header
from sph_reg_ros.service.session import RegistrationSession


@dataclass(frozen=True)
class ImageResult:
    """Result, view and registration of one image.

    Attributes:
        result: RegistrationResult.
        view: None if the image was refused before its companions were found.
        start: initial camera_from_ct [4, 4] (mm); None if networks find their own.
        registered: None if no pose was computed.
    """

    result: Message
    view: XRayView | None = None
    start: Float64[np.ndarray, '4 4'] | None = None
    registered: Registered | None = None


class OfflineNode:
    """Registers in this process, without limit of time, every image that is not refused."""

    def __init__(
        self,
        session: RegistrationSession,
        ct_hash: str,
        parameters: NodeParameters,
        on_outcome: Callable[[ImageResult], None],
    ) -> None:
        """Start without initial pose.

        Args:
            session: that has loaded the CT.
            ct_hash: of the CT.
            parameters: of the node.
            on_outcome: gets what became of each image.
        """
        self._session, self._ct_hash = session, ct_hash
        self._parameters, self._on_outcome = parameters, on_outcome
        self._run = 0
        self._stream = BagStream(parameters, self._on_view, self._on_refused)

    def take(self, event: Event) -> None:
        """Take in the next message."""
        self._stream.take(event)

    def finish(self) -> None:
        """Take in that the bag, or a run of it, is over."""
        self._stream.finish()
        self._run += 1

    def _on_view(self, view: XRayView, initial: InitialPose | None) -> None:
        start, patient = None, self._parameters.frames.patient
        try:
            seen = self._stream.frames.seen_from(view, initial)
            start = None if seen is None else seen.matrix
            registered = self._register(view, seen)
        # No error of one image ends the replay of the others, as in the live node's worker.
        except Exception as error:
            header, typed = view_header(view, bag_message), registration_error(error)
            result = refusal_message(typed, header, patient, self._ct_hash, bag_message)
            self._on_outcome(ImageResult(result, view, start))
        else:
            result = result_message(registered, (view,), patient, bag_message)
            self._on_outcome(ImageResult(result, view, start, registered))

    def _register(self, view: XRayView, initial: InitialPose | None) -> Registered:
        request = register_request(
            self._ct_hash,
            (view,),
            initial,
            self._parameters,
            drr=True,
            # Without bodies, the edges of the rendering are drawn from that.
            overlay=self._session.bodies is not None,
            stream=self._run,
        )
        registered = self._session.handle(request, lambda progress: None)
        assert isinstance(registered, Registered)
        return registered

    def _on_refused(self, header: Message, error: RegistrationError) -> None:
        patient = self._parameters.frames.patient
        result = refusal_message(error, header, patient, self._ct_hash, bag_message)
        self._on_outcome(ImageResult(result))
