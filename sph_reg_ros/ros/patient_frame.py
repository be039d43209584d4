"""Broadcasts the patient on /tf while its registration is valid."""

import threading
import traceback
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from sph_reg_ros.messages.conversions import NANOSECONDS, nanoseconds, time_message
from sph_reg_ros.ros.transforms import TransformPublisher

MAX_STEP_BACK_NS = NANOSECONDS
"""A clock that goes back by more has been set anew: a bag started again, or a time server."""

TF_CACHE_NS = 10 * NANOSECONDS
"""Listeners of tf2 forget what is older than the newest transform by more."""
LOOKUP_NS = NANOSECONDS
"""How long, at least, they can look a transform up at its X-ray's stamp: for so long none of the
present is sent that would make them forget one of long ago."""

MIN_PAUSE_S = 0.001


@dataclass
class _Shown:
    transforms: Sequence[TransformStamped]
    sent_ns: int
    repeated_from_ns: int
    valid_until_ns: int
    repeated: bool


class PatientFrame:
    """Broadcasts a verified registration until it is withdrawn or its time is over.

    The first transform bears the stamp of the X-ray, later ones the present time. tf2 cannot take
    back what it was told: that nothing new comes is how its listeners learn that it is over. From
    the stamp of a newer X-ray on nothing is sent before that one's own result: whoever asks for the
    patient at its stamp must not get the one before. As tf2 interpolates between the last transform
    of one X-ray and the first of the next, the next one's begin right after the last one.
    """

    def __init__(
        self,
        node: Node,
        period_s: float,
        on_expired: Callable[[], None],
        on_clock_set_back: Callable[[], None],
    ) -> None:
        """Show nothing yet; nothing is sent again, or expires, before `start`.

        Args:
            node: the node, whose clock decides.
            period_s: time between two transforms.
            on_expired: called once a registration is too old.
            on_clock_set_back: called after the node's clock went back, when nothing is shown.
        """
        self._node, self._period_s = node, period_s
        self._on_expired, self._on_clock_set_back = on_expired, on_clock_set_back
        self._lock = threading.Lock()
        self._shown: _Shown | None = None
        self._newer_ns: set[int] = set()
        self._settled_ns = 0
        self._now_ns = self._newest_sent_ns = 0
        self._transforms = TransformPublisher(node)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def shown(self) -> bool:
        """Return whether transforms are being sent."""
        with self._lock:
            return self._shown is not None

    def start(self) -> None:
        """Keep sending what is shown, and watch its time and the clock.

        A thread of its own does so. The end of validity must not come late, but a timer of the node
        is handed from thread to thread, and on a busy machine each of them waits for its turn.
        """
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name='patient', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send nothing again; nobody is called once this has returned."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def show(
        self, transforms: Sequence[TransformStamped], valid_until_ns: int, *, repeated: bool
    ) -> None:
        """Send transforms at once, however old they are, and again and again from now on.

        Args:
            transforms: of one X-ray, with its stamp, in place of those of another one.
            valid_until_ns: when to stop.
            repeated: False sends them once only, where what they are given in may move meanwhile.
        """
        with self._lock:
            now_ns = self._node.get_clock().now().nanoseconds
            stamp_ns, next_ns = nanoseconds(transforms[0].header.stamp), self._newest_sent_ns + 1
            self._send_at(transforms, stamp_ns)
            self._settle(stamp_ns)
            soon_forgotten = now_ns - stamp_ns > TF_CACHE_NS - LOOKUP_NS
            self._shown = _Shown(
                transforms,
                # The clock of the imager may be ahead.
                sent_ns=min(now_ns, stamp_ns),
                repeated_from_ns=now_ns + LOOKUP_NS if soon_forgotten else stamp_ns,
                valid_until_ns=valid_until_ns,
                repeated=repeated,
            )
            if next_ns < now_ns:
                self._send(self._shown, next_ns)

    def expect(self, stamp_ns: int) -> None:
        """Send nothing of this time or later before the result of the X-ray with this stamp."""
        with self._lock:
            if stamp_ns > self._settled_ns:
                self._newer_ns.add(stamp_ns)

    def settle(self, stamp_ns: int) -> None:
        """Expect no more of the X-ray with this stamp, and of those before it."""
        with self._lock:
            self._settle(stamp_ns)

    def withdraw(self) -> None:
        """Send nothing any more; nothing is on its way once this has returned."""
        with self._lock:
            self._shown = None

    def forget(self) -> None:
        """Withdraw, and expect nothing any more."""
        with self._lock:
            self._forget()

    def _settle(self, stamp_ns: int) -> None:
        self._settled_ns = max(self._settled_ns, stamp_ns)
        self._newer_ns = {newer for newer in self._newer_ns if newer > stamp_ns}

    def _forget(self) -> None:
        self._shown, self._settled_ns = None, 0
        self._newer_ns.clear()

    def _run(self) -> None:
        # By real time: simulated time may stand still or jump.
        while not self._stopped.wait(self._pause_s()):
            try:
                self._look()
            # A bug that is met once must not keep the patient from being withdrawn.
            except Exception:
                self._node.get_logger().error(f'sending failed:\n{traceback.format_exc()}')

    def _pause_s(self) -> float:
        with self._lock:
            if self._shown is None:
                return self._period_s
            left_ns = self._shown.valid_until_ns - self._node.get_clock().now().nanoseconds
        # Simulated time may stand still right before the end.
        return min(max(left_ns / NANOSECONDS, MIN_PAUSE_S), self._period_s)

    def _look(self) -> None:
        with self._lock:
            now_ns, last_ns = self._node.get_clock().now().nanoseconds, self._now_ns
            self._now_ns = now_ns
            set_back = now_ns < last_ns - MAX_STEP_BACK_NS
            expired = self._shown is not None and now_ns >= self._shown.valid_until_ns
            if set_back:
                self._forget()
                self._newest_sent_ns = 0
            elif expired:
                self._shown = None
            elif self._shown is not None:
                self._send(self._shown, now_ns)
        if set_back:
            self._on_clock_set_back()
        elif expired:
            self._on_expired()

    def _send(self, shown: _Shown, stamp_ns: int) -> None:
        awaited = bool(self._newer_ns) and stamp_ns >= min(self._newer_ns)
        # tf2 complains about two transforms with one stamp, as simulated time may give them.
        due = stamp_ns > shown.sent_ns and stamp_ns >= shown.repeated_from_ns
        if shown.repeated and due and not awaited:
            shown.sent_ns = stamp_ns
            self._send_at(shown.transforms, stamp_ns)

    def _send_at(self, transforms: Sequence[TransformStamped], stamp_ns: int) -> None:
        self._newest_sent_ns = max(self._newest_sent_ns, stamp_ns)
        self._transforms.send(_restamped(transforms, stamp_ns))


def _restamped(transforms: Sequence[TransformStamped], stamp_ns: int) -> list[TransformStamped]:
    copies = deepcopy(list(transforms))
    for transform in copies:
        transform.header.stamp = time_message(stamp_ns)
    return copies
