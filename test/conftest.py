"""Skips what this machine cannot run, and says why."""

import os
import shutil
from importlib.util import find_spec

# Two processes of tests (pytest -n 2) share the cores; torch reads this when it is imported.
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch
from hypothesis import settings

# Without a GPU Triton's own interpreter runs the CUDA kernel on the CPU. Triton reads this when it
# is first imported, so that it must be said before any test does that.
if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')

# The same examples in every run: a failure is a change, not a matter of luck.
settings.register_profile('seeded', derandomize=True, deadline=None)
settings.load_profile('seeded')


def has(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)


HAS_ROS = has('rclpy', 'tf2_msgs', 'sph_reg_ros.msg')
HAS_FULL_ROS = HAS_ROS and has('launch_ros', 'tf2_ros') and shutil.which('ros2') is not None
NEEDS = {
    'gpu': (torch.cuda.is_available(), 'needs a CUDA device'),
    'ros': (HAS_ROS, 'needs rclpy and the built messages: make test'),
    'ros_full': (HAS_FULL_ROS, 'needs an installed ROS 2 with launch, tf2_ros and ros2'),
}


def pytest_configure(config: pytest.Config) -> None:
    # Where the set-up has promised ROS, its absence is an error and not a reason to skip.
    if os.environ.get('REQUIRE_ROS') and not HAS_ROS:
        raise pytest.UsageError('rclpy, tf2_msgs or sph_reg_ros.msg cannot be imported')


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark, (available, reason) in NEEDS.items():
        if item.get_closest_marker(mark) and not available:
            pytest.skip(reason)
