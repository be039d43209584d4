"""Message classes: those of rclpy, or others with the same attributes.

The functions of this package that read or build messages only use attributes. What a bag holds is
read without ROS, as classes of another library, and goes through the same functions.
"""

from functools import cache
from importlib import import_module
from typing import Any, Protocol

Message = Any
"""A message, whatever class it is of; docstrings name its type."""


class NewMessage(Protocol):
    """Makes messages."""

    def __call__(self, kind: str, /, **fields: Any) -> Message:
        """Return a message of a type such as 'geometry_msgs/Pose'; what is not given is zero."""


def ros_message(kind: str, /, **fields: Any) -> Message:
    """Return a message of the installed ROS, see NewMessage."""
    return _ros_class(kind)(**fields)


@cache
def _ros_class(kind: str) -> type:
    package, name = kind.split('/')
    found: type = getattr(import_module(f'{package}.msg'), name)
    return found
