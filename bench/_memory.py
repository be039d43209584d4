"""Peak memory of one program above the volume, each in a process of its own."""

import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

import torch
from _programs import OURS, JacobianBy, Program, ours, peer
from _scenes import BenchScene, make_scene

MB = 2**20


def peak_memory_mb(scene: str, size: int, device: str, program: tuple[str, str, int]) -> float:
    """Return the peak minus what was held when the volume was there, in MB (2^20 bytes).

    Args:
        scene: name of the scene.
        size: rows and columns of the image.
        device: cpu or cuda.
        program: name, kind and number of points on a ray.
    """
    task = json.dumps([scene, size, device, *program])
    outcome = subprocess.run(
        [sys.executable, __file__, task], capture_output=True, text=True, check=False
    )
    if outcome.returncode != 0:
        return float('nan')
    return float(outcome.stdout.splitlines()[-1])


def main() -> None:
    """Run one program once and print its memory."""
    name_of_scene, size, device, name, kind, points = json.loads(sys.argv[1])
    # What imports and compilers hold for good is no program's own: a tiny image takes it first.
    tiny = make_scene('16', 8, device)
    _program(tiny, name, kind, points).run(tiny.poses[0])
    scene = make_scene(name_of_scene, size, device)
    program = _program(scene, name, kind, points)
    _forget_peak(device)
    before = _held(device, 'VmRSS')
    program.run(scene.poses[0])
    print((_held(device, 'VmHWM') - before) / MB)


def _program(scene: BenchScene, name: str, kind: str, points: int) -> Program:
    programs = ours(scene, 'auto') if name == OURS else peer(name, scene, points, JacobianBy())
    return next(program for program in programs if program.kind == kind)


def _forget_peak(device: str) -> None:
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    else:
        # Give back what was freed: else it would hide as much of what comes.
        gc.collect()
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')


def _held(device: str, field: str) -> int:
    if device == 'cuda':
        now = field == 'VmRSS'
        return torch.cuda.memory_allocated() if now else torch.cuda.max_memory_allocated()
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f'{field} is not in /proc/self/status')


if __name__ == '__main__':
    main()
