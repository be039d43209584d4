"""What a harness.Client asks of the node: a good X-ray registered, goals for ~/register."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.action import ActionClient
from ros.harness import FIXED, Client, Scene, moved, xray_messages
from sph_reg_ros.action import Register
from sph_reg_ros.msg import RegistrationResult

from sph_reg_ros.messages.conversions import pose_from_matrix

OFFSET = (0.03, -0.02, 0.04, 4.0, -3.0, 6.0)


def good(client: Client, scene: Scene, **options: Any) -> RegistrationResult:
    """Register a good X-ray, which a node that lives can always do."""
    result = client.result_of(client.publish_xray(scene, **options))
    assert result.verdict == RegistrationResult.VERIFIED, result.error_message
    return result


def goal_for(
    scenes: Sequence[Scene] = (),
    start: np.ndarray | None = None,
    frame: str = FIXED,
    stamp_ns: int = 0,
    **fields: Any,
) -> Register.Goal:
    """Return a goal with an X-ray of each scene, of now if no other time is given."""
    goal = Register.Goal(**fields)
    for number, scene in enumerate(scenes):
        messages = xray_messages(scene, stamp_ns or time.time_ns(), number)
        goal.images.append(messages.image)
        goal.camera_infos.append(messages.camera_info)
        goal.imager_poses.append(messages.imager_pose)
    if start is not None:
        goal.use_initial_pose = True
        goal.initial_pose = PoseWithCovarianceStamped()
        goal.initial_pose.header.frame_id = frame
        goal.initial_pose.pose.pose = pose_from_matrix(start)
    return goal


def send(client: Client, goal: Register.Goal, feedback: Callable | None = None) -> Any:
    """Return the goal's handle."""
    if not hasattr(client, 'action'):
        client.action = ActionClient(
            client.node, Register, f'{client.namespace}/registration/register'
        )
        client.spin_until(client.action.server_is_ready)
        client.wait_until_answers_arrive()
    future = client.action.send_goal_async(goal, feedback_callback=feedback)
    client.spin_until(future.done)
    return future.result()


def finish(client: Client, handle: Any) -> tuple[int, Register.Result]:
    """Return status and result of a goal."""
    future = handle.get_result_async()
    client.spin_until(future.done, 60)
    return future.result().status, future.result().result


def verified(client: Client, scene: Scene, stamp_ns: int = 0) -> RegistrationResult:
    """Register an X-ray of a scene by the action; the result must be VERIFIED."""
    start = moved(scene.fixed_from_patient, *OFFSET)
    _, result = finish(client, send(client, goal_for([scene], start, stamp_ns=stamp_ns)))
    assert result.result.verdict == RegistrationResult.VERIFIED, result.error_message
    return result.result
