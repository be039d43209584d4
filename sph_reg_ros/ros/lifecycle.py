"""Lifecycle transitions that report failures; lifecycle services answer while they run."""

import functools
import threading
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from sph_reg_ros.errors import CancelledError, RegistrationError

Transition = Callable[[Any], None]
TransitionCallback = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def transition(function: Transition) -> TransitionCallback:
    """Make a transition callback of a method that raises.

    FAILURE, back to the state before, answers a RegistrationError, which the user can mend; ERROR
    answers anything else. rclpy would swallow both without a word.
    """

    @functools.wraps(function)
    def callback(node: Any, state: LifecycleState) -> TransitionCallbackReturn:
        name = function.__name__.removeprefix('on_')
        try:
            with node.transition_lock:
                function(node)
        except CancelledError:
            node.get_logger().info(f'{name}: stopped')
            return TransitionCallbackReturn.FAILURE
        except RegistrationError as error:
            node.get_logger().error(f'{name} failed: {error} [{error.code.name}]')
            node.on_transition_failed(error)
            return TransitionCallbackReturn.FAILURE
        except Exception:
            node.get_logger().error(f'{name} failed:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.ERROR
        node.get_logger().info(f'{name}: done')
        return TransitionCallbackReturn.SUCCESS

    return callback


class ResponsiveLifecycleNode(LifecycleNodeMixin, Node):
    """Lifecycle node whose lifecycle services answer while a transition runs."""

    def __init__(self, name: str, **options: Any) -> None:
        """Create the node; options are those of rclpy.node.Node."""
        Node.__init__(self, name, **options)
        self.transition_lock = threading.RLock()
        # LifecycleNode puts them into the default group, where a long callback blocks them.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._refuse_impossible_transitions()

    def on_transition_failed(self, error: RegistrationError) -> None:
        """Take note of a failed transition."""

    def _refuse_impossible_transitions(self) -> None:
        # rclpy lets the error of a transition that the present state does not allow escape from
        # the service callback, which ends the executor; the caller gets no answer.
        change_state = self._service_change_state.callback

        def answer(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as error:
                self.get_logger().error(
                    f'transition {request.transition.label or request.transition.id} is not '
                    f'possible now: {str(error).splitlines()[0]}'
                )
                response.success = False
                return response

        self._service_change_state.callback = answer
