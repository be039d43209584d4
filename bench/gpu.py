"""Everything that a GPU has to show, in one run of at most 8 minutes.

Parity with the CPU, renderings beside nanodrr's, registrations with all checks, without an initial
pose, tracking and training; what was to be reached, and whether it was. Without a GPU it says so
and ends with 0, with --strict with 1; the kernels' registers are printed all the same.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from _gpu_parts import (
    Figures,
    Scale,
    image_parity,
    registrations,
    rendering,
    tracking,
    training,
)
from _targets import Target, print_targets

from sph_reg_ros.rendering.device import device_text

PARTS: dict[str, Callable[[Scale], Figures]] = {
    'parity': image_parity,
    'rendering': rendering,
    'registrations': registrations,
    'tracking': tracking,
    'training': training,
}
TARGETS = (
    ('image, relative rms', '<=', 1e-4),
    ('Jacobian, worst column', '<=', 1e-3),
    ('poses apart from those of the CPU, mm', '<=', 0.05),
    ('other verdicts than on the CPU', '<=', 0),
    ('image + Jacobian, us', '<=', 120),
    ('image, times as fast', '>=', 1),
    ('image + Jacobian, times as fast', '>=', 5),
    ('with checks, ms', '<=', 50),
    ('no guess, ms', '<=', 200),
    ('tracking, frames/s', '>=', 200),
)
QUICK = Scale(repeats=10, cases=4, frames=50, steps=5)


def targets_of(figures: Figures) -> list[Target]:
    """Return every target; one that was not measured is missed."""
    found = []
    for name, relation, limit in TARGETS:
        value = figures.get(name)
        met = value is not None and (value <= limit if relation == '<=' else value >= limit)
        text = 'not measured' if value is None else f'{value:.4g}'
        found.append(Target(name, f'{relation} {limit:g}', text, met))
    return found


def measure(scale: Scale, parts: list[str]) -> Figures:
    """Run parts, print their figures, and return all of them."""
    figures: Figures = {}
    for name in parts:
        began = time.perf_counter()
        found = PARTS[name](scale)
        print(f'\n{name} ({time.perf_counter() - began:.0f} s)')
        for what, value in found.items():
            print(f'  {what:<52}{value:12.5g}', flush=True)
        figures |= found
    return figures


def kernel_lines() -> list[str]:
    """Return what the kernels need of a GPU's registers; compiled in a process of its own."""
    program = Path(__file__).with_name('_kernels.py')
    environment = os.environ | {'TRITON_INTERPRET': '0'}
    said = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, check=False
    )
    return said.stdout.splitlines() or [f'kernels: {said.stderr.strip().splitlines()[-1]}']


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--quick', action='store_true', help='few repetitions: a minute or two')
    add('--parts', nargs='+', choices=PARTS, default=list(PARTS), help='what to measure')
    add('--json', type=Path, help='file for all figures')
    add('--strict', action='store_true', help='exit code 1 if a target is missed or no GPU is here')
    arguments = parser.parse_args()
    print(*kernel_lines(), sep='\n')
    if not torch.cuda.is_available():
        print(f'torch {torch.__version__} finds no CUDA device: nothing was measured, not run')
        return int(arguments.strict)
    setting = f'{device_text(torch.device("cuda", 0))}, torch {torch.__version__}'
    print(setting)
    scale = QUICK if arguments.quick else Scale()
    figures = measure(replace(scale, device='cuda'), arguments.parts)
    targets = targets_of(figures)
    print_targets(targets)
    if arguments.json:
        content = {'setting': setting, 'figures': figures, 'kernels': kernel_lines()}
        arguments.json.write_text(json.dumps(content, indent=1) + '\n')
    missed = [target.what for target in targets if not target.met]
    print(f'{setting}: ' + ', '.join(f'{t.what} {t.found}' for t in targets))
    return int(arguments.strict and bool(missed))


if __name__ == '__main__':
    sys.exit(main())
