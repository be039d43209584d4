"""How long the first image of a process takes, before and after compiled code lies on disk."""

import os
import subprocess
import sys
import tempfile
import time

import torch
from _scenes import make_scene

from sph_reg_ros.rendering.render import render_with_jacobian


def first_image_s() -> tuple[float, float]:
    """Return seconds from imported to rendered: with an empty cache, then with that cache."""
    with tempfile.TemporaryDirectory() as folder:
        compiling, cached = (_in_new_process(folder) for _ in range(2))
    return compiling, cached


def _in_new_process(cache: str) -> float:
    environment = os.environ | {'NUMBA_CACHE_DIR': cache}
    outcome = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=True, env=environment
    )
    return float(outcome.stdout.splitlines()[-1])


def main() -> None:
    """Print the seconds that a first image takes here."""
    scene = make_scene('16', 8, 'cpu')
    torch.ones(2).sum()
    began = time.perf_counter()
    camera = scene.camera
    render_with_jacobian(scene.volume, scene.poses[0], camera.K, camera.size)
    print(time.perf_counter() - began)


if __name__ == '__main__':
    main()
