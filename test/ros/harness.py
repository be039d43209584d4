"""A phantom CT, its X-rays, the real node in its own process, and a client that talks to it."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import rclpy
import SimpleITK as sitk  # noqa: N813
import torch
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros.domains import own_domain
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from sph_reg_ros.msg import RegistrationResult, RegistrationStatus
from std_msgs.msg import Header

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.messages.conversions import nanoseconds, pose_from_matrix, time_message
from sph_reg_ros.messages.image_conversions import image_from_array
from sph_reg_ros.messages.tf_buffer import LookupFailedError, TFBuffer
from sph_reg_ros.rendering.render import render
from sph_reg_ros.ros.transforms import TransformListener

REPOSITORY = Path(__file__).parents[2]
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
EACH_STATUS = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
FIXED, IMAGER = 'carm_base', 'carm_optical'
SIZE = 96
DOMAIN = own_domain()
# Other work on the machine must not fail a test that is not about time.
UNHURRIED = {
    'image__max_age': 60.0,
    'worker__silence': 60.0,
    'paths__allowed': "['/']",
}


def write_phantom_ct(path: Path, *, slices: int = 40) -> Path:
    """Write blobs of tissue and bone in air, on an anisotropic grid far from the origin."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(
        np.linspace(-1, 1, slices), np.linspace(-1, 1, 56), np.linspace(-1, 1, 64), indexing='ij'
    )
    body = x**2 / 0.8 + y**2 / 0.5 + z**2 / 0.9 < 1
    density = np.where(body, 1000.0, 0.0)
    for _ in range(16):
        cx, cy, cz = rng.uniform(-0.5, 0.5, 3)
        width = rng.uniform(0.01, 0.05)
        density += 900 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / width) * body
    image = sitk.GetImageFromArray((density - 1000).astype(np.int16))
    image.SetSpacing((3.0, 3.0, 4.0))
    image.SetOrigin((-300.0, 20.0, -700.0))
    sitk.WriteImage(image, str(path))
    return path


@dataclass(frozen=True)
class Scene:
    """A patient under a C-arm; matrices are in mm."""

    volume: AttenuationVolume
    camera: Camera
    fixed_from_imager: np.ndarray
    fixed_from_patient: np.ndarray

    @property
    def camera_from_ct(self) -> np.ndarray:
        return np.linalg.inv(self.fixed_from_imager) @ self.fixed_from_patient

    def xray(self, seed: int = 0) -> np.ndarray:
        """Return counts [H, W] uint16 with noise, by a renderer that the node does not use."""
        pose, camera = torch.from_numpy(self.camera_from_ct), self.camera
        integrals = render(self.volume, pose, camera.K, camera.size, backend='torch').numpy()
        counts = 50000 * np.exp(-integrals)
        noise = np.random.default_rng(seed).normal(0, 1, counts.shape) * np.sqrt(counts)
        return np.clip(counts + noise, 1, 65534).astype(np.uint16)

    def turned(self, angle_rad: float) -> 'Scene':
        """Return the scene with the C-arm turned about the patient."""
        centre = self.fixed_from_patient @ np.array([*self.volume.centre.tolist(), 1.0])
        turn = se3.exp(torch.tensor([0.0, angle_rad, 0, 0, 0, 0], dtype=torch.float64)).numpy()
        turn[:3, 3] = centre[:3] - turn[:3, :3] @ centre[:3]
        return replace(self, fixed_from_imager=turn @ self.fixed_from_imager)


def make_scene(ct_path: Path) -> Scene:
    """Return the phantom 1 m from the source, seen by a small detector, in an oblique frame."""
    volume = attenuation_from_hounsfield(load_ct(ct_path))
    camera = Camera.from_geometry(1000.0, (3.5, 3.5), (SIZE, SIZE))
    turn = se3.exp(torch.tensor([1.2, -0.4, 0.3, 0, 0, 0], dtype=torch.float64)).numpy()
    camera_from_ct = turn.copy()
    camera_from_ct[:3, 3] = [4.0, -6.0, 700.0] - turn[:3, :3] @ volume.centre.numpy()
    fixed_from_imager = se3.exp(
        torch.tensor([0.3, 0.8, -1.1, 250.0, -400.0, 600.0], dtype=torch.float64)
    ).numpy()
    return Scene(volume, camera, fixed_from_imager, fixed_from_imager @ camera_from_ct)


def moved(matrix: np.ndarray, *twist: float) -> np.ndarray:
    """Return a pose moved on the right by (omega rad, v mm)."""
    return matrix @ se3.exp(torch.tensor(twist, dtype=torch.float64)).numpy()


def error_mm(a: np.ndarray, b: np.ndarray, scene: Scene) -> float:
    """Return the largest distance between two poses over the corners of the CT."""
    shape = torch.tensor(scene.volume.shape[::-1], dtype=torch.float64) - 1
    corners = torch.cartesian_prod(*[torch.stack([torch.zeros(()).double(), n]) for n in shape])
    points = se3.transform_points(scene.volume.ct_from_index, corners).numpy()
    points = np.c_[points, np.ones(len(points))]
    return float(np.linalg.norm((points @ a.T - points @ b.T)[:, :3], axis=1).max())


class NodeProcess:
    """The node as a process of its own, with everything it prints kept; UNHURRIED unless told."""

    def __init__(
        self,
        log_path: Path,
        *,
        params_file: Path | None = None,
        namespace: str = '/',
        environment: Mapping[str, str] | None = None,
        **parameters: Any,
    ):
        arguments = ['--ros-args', '-r', f'__ns:={namespace}']
        if params_file is not None:
            arguments += ['--params-file', str(params_file)]
        for name, value in (UNHURRIED | parameters).items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ['-p', f'{name.replace("__", ".")}:={text}']
        self.log_path = log_path
        own = {
            'ROS_DOMAIN_ID': str(DOMAIN),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_LOG_DIR': str(log_path.parent),
            'PYTHONPATH': os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')]),
            'OMP_NUM_THREADS': '2',
        }
        with log_path.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'sph_reg_ros.ros.node', *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | own | dict(environment or {}),
                cwd=log_path.parent,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors='replace')

    def wait_for_log(self, text: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.log:
            assert time.monotonic() < deadline, f'{text!r} was not logged:\n{self.log}'
            assert self.process.poll() is None, f'the node ended:\n{self.log}'
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT, timeout_s: float = 60.0) -> tuple[int, float]:
        """Return exit code and seconds that the node took to end."""
        start = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f'the node did not end:\n{self.log}') from None
        return self.process.returncode, time.monotonic() - start

    def kill(self) -> None:
        """End it at once, and remove the shared memory that it leaves behind."""
        self.process.kill()
        self.process.wait()
        remove_orphaned_memory()

    def __enter__(self) -> 'NodeProcess':
        return self

    def __exit__(self, error: type | None, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10.0)
        if self.process.poll() is None:
            self.kill()
        if error is not None:
            print(f'what the node said:\n{self.log}')


def remove_orphaned_memory() -> None:
    """Remove segments whose process is gone: Fast DDS locks a file beside each while it lives."""
    for lock in Path('/dev/shm').glob('fastrtps_*_el'):
        # Somebody else's, or one that was removed by others meanwhile.
        with suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.with_name(lock.name.removesuffix('_el')).unlink(missing_ok=True)
            lock.unlink(missing_ok=True)


@contextmanager
def sound_node(log_path: Path, **parameters: Any) -> Iterator[NodeProcess]:
    """Give an active node, which must still live at the end and have logged no traceback."""
    with NodeProcess(log_path, **parameters) as node:
        node.wait_for_log('activate: done', 120)
        yield node
        assert node.process.poll() is None, node.log
        assert 'Traceback' not in node.log, node.log


def worker_pid(node: NodeProcess) -> int:
    tasks = Path(f'/proc/{node.process.pid}/task').iterdir()
    (pid,) = [int(pid) for task in tasks for pid in (task / 'children').read_text().split()]
    return pid


class Client:
    """A ROS node of the test: publishes X-rays, collects what the node says, calls its services."""

    TOPICS = {'result': (RegistrationResult, RELIABLE), 'status': (RegistrationStatus, LATCHED)}

    def __init__(
        self, name: str = 'client', *, image_qos: QoSProfile = RELIABLE, namespace: str = ''
    ):
        self.namespace = namespace
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node(name, context=self.context, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.received: dict[str, list[Any]] = defaultdict(list)
        for topic, (kind, qos) in self.TOPICS.items():
            self.listen(kind, f'{namespace}/registration/{topic}', topic, qos)
        self.clients: dict[str, Any] = {}
        self.tf = TFBuffer()
        self.listener = TransformListener(self.node, self.tf)
        self.publishers = SimpleNamespace(
            image=self.node.create_publisher(Image, 'image', image_qos),
            camera_info=self.node.create_publisher(CameraInfo, 'camera_info', image_qos),
            imager_pose=self.node.create_publisher(PoseStamped, 'imager_pose', image_qos),
            initial_pose=self.node.create_publisher(
                PoseWithCovarianceStamped, 'initial_pose', LATCHED
            ),
        )
        self._stamp = 0

    def __enter__(self) -> 'Client':
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def listen(self, kind: type, topic: str, key: str, qos: QoSProfile = RELIABLE) -> None:
        self.node.create_subscription(kind, topic, self.received[key].append, qos)

    def spin_until(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            self.executor.spin_once(timeout_sec=0.02)
        raise AssertionError('it did not happen in time')

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, kind: type, name: str, request: Any, timeout_s: float = 60.0) -> Any:
        if name not in self.clients:
            self.clients[name] = self._new_client(kind, name)
            self.wait_until_answers_arrive()
        future = self.clients[name].call_async(request)
        self.spin_until(future.done, timeout_s)
        return future.result()

    def _new_client(self, kind: type, name: str) -> Any:
        client = self.node.create_client(kind, f'{self.namespace}/registration/{name}')
        self.spin_until(client.service_is_ready)
        return client

    def wait_until_answers_arrive(self) -> None:
        """Wait until the node knows where to send its answers; it drops them before.

        DDS announces endpoints in the order of their creation: once this client, which is the last
        one, is answered, all others are known. Its question can be asked again, theirs cannot.
        """
        probe = self._new_client(GetState, 'get_state')
        for _ in range(20):
            future = probe.call_async(GetState.Request())
            with suppress(AssertionError):
                self.spin_until(future.done, 1.0)
                self.node.destroy_client(probe)
                return
        raise AssertionError('the node does not answer')

    def change_state(self, label: str, timeout_s: float = 60.0) -> bool:
        ids = {
            'configure': Transition.TRANSITION_CONFIGURE,
            'activate': Transition.TRANSITION_ACTIVATE,
            'deactivate': Transition.TRANSITION_DEACTIVATE,
            'cleanup': Transition.TRANSITION_CLEANUP,
        }
        request = ChangeState.Request(transition=Transition(id=ids[label]))
        return self.call(ChangeState, 'change_state', request, timeout_s).success

    def get_state(self) -> str:
        return self.call(GetState, 'get_state', GetState.Request(), 5.0).current_state.label

    def set_clock(self, now_ns: int) -> None:
        """Set simulated time, and wait until the node keeps it."""
        if not hasattr(self.publishers, 'clock'):
            self.publishers.clock = self.node.create_publisher(Clock, '/clock', RELIABLE)
        now = time_message(now_ns)

        def kept() -> bool:
            self.publishers.clock.publish(Clock(clock=now))
            self.spin(0.05)
            return self.received['status'][-1].header.stamp == now

        self.spin_until(kept)

    def new_stamp(self) -> int:
        self._stamp = max(self._stamp + 1_000_000, time.time_ns())
        return self._stamp

    def wait_until_heard(self) -> None:
        """Wait until the node listens to what is published here."""
        self.spin_until(lambda: self.publishers.image.get_subscription_count() > 0)
        self.spin_until(lambda: self.publishers.initial_pose.get_subscription_count() > 1)

    def publish_initial_pose(self, matrix: np.ndarray, frame_id: str = FIXED) -> None:
        message = PoseWithCovarianceStamped(header=Header(frame_id=frame_id))
        message.pose.pose = pose_from_matrix(matrix)
        self.publishers.initial_pose.publish(message)
        self.spin(0.2)

    def publish_xray(self, scene: Scene, seed: int = 0, *, edit: Callable | None = None) -> int:
        """Publish an X-ray with its companions; `edit` may spoil the messages. Return the stamp."""
        stamp = self.new_stamp()
        messages = xray_messages(scene, stamp, seed)
        if edit is not None:
            edit(messages)
        for name in ('imager_pose', 'camera_info', 'image'):
            if getattr(messages, name) is not None:
                getattr(self.publishers, name).publish(getattr(messages, name))
        return stamp

    def result_of(self, stamp_ns: int, timeout_s: float = 60.0) -> RegistrationResult:
        stamp = time_message(stamp_ns)
        return self.spin_until(
            lambda: next((r for r in self.received['result'] if r.header.stamp == stamp), None),
            timeout_s,
        )

    def lookup(self, target: str, source: str, stamp_ns: int, timeout_s: float = 5.0) -> np.ndarray:
        """Return target_from_source (mm) as soon as /tf has brought it."""

        def found() -> list[np.ndarray]:
            try:
                return [self.tf.lookup(target, source, stamp_ns)]
            except LookupFailedError:
                return []

        return self.spin_until(found, timeout_s)[0]

    def status(
        self, state: int, timeout_s: float = 60.0, *, stamp_ns: int | None = None
    ) -> RegistrationStatus:
        """Wait until the last status has this state, and speaks of this X-ray."""

        def reached() -> RegistrationStatus | None:
            last = self.received['status'][-1] if self.received['status'] else None
            if last is None or last.state != state:
                return None
            return last if stamp_ns in (None, nanoseconds(last.result_stamp)) else None

        return self.spin_until(reached, timeout_s)


def xray_messages(scene: Scene, stamp_ns: int, seed: int = 0) -> SimpleNamespace:
    """Return image, camera_info and imager_pose."""
    stamp = time_message(stamp_ns)
    info = CameraInfo(header=Header(stamp=stamp, frame_id=IMAGER), height=SIZE, width=SIZE)
    info.k = scene.camera.K.reshape(-1).numpy()
    pose = PoseStamped(header=Header(stamp=stamp, frame_id=FIXED))
    pose.pose = pose_from_matrix(scene.fixed_from_imager)
    image = image_from_array(scene.xray(seed), Header(stamp=stamp, frame_id=IMAGER))
    return SimpleNamespace(image=image, camera_info=info, imager_pose=pose)
