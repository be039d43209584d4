"""The demo: a simulated C-arm and the registration node, in processes of their own, over DDS.

Ten X-rays are registered from encoder poses that are wrong by up to 10 mm and 5 degrees. The
patient is looked up on tf2 at the stamp of each image, as any other node would, and compared with
the truth.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sph_reg_ros.demo.bodies import NAMES, write_list
from sph_reg_ros.demo.commands import commands, local_environment
from sph_reg_ros.demo.contact_sheet import PICTURE_STEP_MM, Tile, save_contact_sheet
from sph_reg_ros.demo.processes import Runner
from sph_reg_ros.demo.table import (
    LANDMARK_HALF_SIZE_MM,
    BodyRow,
    Row,
    body_summary,
    caption,
    header,
    passed,
    summary,
)
from sph_reg_ros.evaluation.carm import CArmGeometry, isocentre_of
from sph_reg_ros.evaluation.metrics import PoseError, pose_error
from sph_reg_ros.geometry.box import landmark_grid
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, format_angles
from sph_reg_ros.imaging.attenuation import AttenuationVolume, attenuation_from_hounsfield
from sph_reg_ros.imaging.bodies.body import Bodies
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.imaging.load_bodies import load_bodies
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.rendering.render import render
from sph_reg_ros.ros.demo_client import DemoClient, DemoError, ExposureResult

IMAGES = 10
PAIRS = 3
TIMEOUT_S = 300.0
BODIES_TIMEOUT_S = 600.0
BODY_HALF_SIZE_MM = (20.0, 15.0, 10.0)


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 only if every image was registered well enough."""
    options = _parser().parse_args(args)
    environment = local_environment()
    # This process takes part in the graph too.
    os.environ.update(environment)
    start_s = time.monotonic()
    limit_s = BODIES_TIMEOUT_S if options.bodies else TIMEOUT_S
    with Runner(options.output / 'log', environment) as runner:
        listed = write_list(options.output) if options.bodies else None
        started = commands(use_launch=not options.no_launch, bodies=listed)
        for name, command in started.items():
            runner.start(name, command)
        try:
            ct = load_ct(sample_ct_path())
            moving = None
            if listed is not None:
                moving = load_bodies(listed, attenuation_from_hounsfield(ct))
            outcomes, rows = _take_images(runner, ct, moving, start_s + limit_s)
        except DemoError as error:
            print(f'demo: failed: {error}\n{runner.log_tail()}', file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    sheet = options.output / 'contact_sheet.png'
    save_contact_sheet(_tiles(ct, moving, outcomes, rows), sheet)
    print(f'pictures: {sheet}    logs: {options.output / "log"}')
    print(f'the demo took {time.monotonic() - start_s:.0f} s')
    settings = Path(sys.prefix) / 'ros_env.sh'
    if settings.is_file():
        print(f'sph-reg and ROS 2 in this shell: source {os.path.relpath(settings)}')
    print(f'method: {", ".join(sorted({o.result.method or "none" for o in outcomes}))}')
    print('median error: mm perpendicular to the beam (in plane), degrees of rotation')
    print(summary(rows))
    if moving is None:
        return 0 if passed(rows, IMAGES) else 1
    found = [row for outcome in outcomes for row in _body_rows(outcome, moving)]
    print(body_summary(found))
    return 0 if passed(rows, PAIRS) and all(row.registered for row in found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Register ten simulated X-rays over ROS 2 and compare with the truth.'
    )
    parser.add_argument(
        '--output', type=Path, default=Path('demo'), help='folder for pictures and logs'
    )
    parser.add_argument(
        '--no-launch', action='store_true', help='start the nodes directly, not by ros2 launch'
    )
    parser.add_argument(
        '--bodies',
        action='store_true',
        help='three vertebrae move each for itself: two views of each of three moments',
    )
    return parser


def _take_images(
    runner: Runner, ct: CT, moving: Bodies | None, deadline_s: float
) -> tuple[list[ExposureResult], list[Row]]:
    def still_running() -> None:
        if runner.ended():
            raise DemoError(f'ended too early: {", ".join(runner.ended())}')

    client = DemoClient(still_running, deadline_s, () if moving is None else NAMES)
    outcomes: list[ExposureResult] = []
    rows: list[Row] = []
    try:
        client.wait_until_ready()
        print(f'transforms are looked up by {client.transforms.description}')
        print(header(), flush=True)
        for index in range(IMAGES if moving is None else PAIRS):
            outcomes.append(client.expose() if moving is None else client.expose_pair())
            rows.append(_row(index, outcomes[-1], ct))
            print(rows[-1], flush=True)
            for row in () if moving is None else _body_rows(outcomes[-1], moving):
                print(row, flush=True)
    finally:
        client.close()
    return outcomes, rows


def _row(index: int, outcome: ExposureResult, ct: CT) -> Row:
    geometry = CArmGeometry()
    landmarks_mm = landmark_grid(isocentre_of(ct), LANDMARK_HALF_SIZE_MM)
    truth = torch.from_numpy(outcome.truth)

    def error(estimate: np.ndarray) -> PoseError:
        pose = torch.from_numpy(estimate)
        return pose_error(pose, truth, landmarks_mm, geometry.camera, geometry.pixel_pitch_mm)

    verified = outcome.result.verdict == outcome.result.VERIFIED
    reason = outcome.result.error_message or 'not verified'
    return Row(
        index=index,
        angle=format_angles(*angles_from_camera_from_ct(truth)),
        start=error(outcome.start),
        final=None if outcome.looked_up is None else error(outcome.looked_up),
        similarity=outcome.result.similarity_after,
        time_s=outcome.time_s,
        verdict='verified' if verified else reason,
    )


def _body_rows(outcome: ExposureResult, moving: Bodies) -> list[BodyRow]:
    geometry, rows = CArmGeometry(), []
    for found, result in zip(outcome.bodies, outcome.result.bodies, strict=True):
        body, truth = moving[found.name], torch.from_numpy(found.truth)
        landmarks_mm = landmark_grid(body.volume.centre, BODY_HALF_SIZE_MM)
        rest = torch.from_numpy(outcome.truth) @ body.ct_from_body
        pose = torch.from_numpy(found.found if found.looked_up is None else found.looked_up)
        pitch_mm = geometry.pixel_pitch_mm
        moved = pose_error(rest, truth, landmarks_mm, geometry.camera, pitch_mm)
        rows.append(
            BodyRow(
                name=found.name,
                moved_mm=moved.mtre_mm,
                moved_deg=moved.rotation_deg,
                error=pose_error(pose, truth, landmarks_mm, geometry.camera, pitch_mm),
                verdict='verified' if found.verified else result.error_message,
                has_frame=found.looked_up is not None,
            )
        )
    return rows


def _tiles(
    ct: CT, moving: Bodies | None, outcomes: list[ExposureResult], rows: list[Row]
) -> list[Tile]:
    whole, camera = attenuation_from_hounsfield(ct), CArmGeometry().camera
    rest = whole if moving is None or moving.rest is None else moving.rest

    def picture(pose: np.ndarray, volume: AttenuationVolume = rest) -> np.ndarray:
        matrix = torch.from_numpy(pose)
        return render(volume, matrix, camera.K, camera.size, step_mm=PICTURE_STEP_MM).numpy()

    return [
        Tile(
            title=f'{row.index + 1}   {row.angle}',
            counts=outcome.counts,
            before=picture(outcome.start),
            after=None if outcome.looked_up is None else picture(outcome.looked_up),
            before_caption=caption(row.start),
            after_caption=row.verdict if row.final is None else caption(row.final),
            bodies={
                found.name if found.verified else f'{found.name}?': picture(
                    found.found, moving[found.name].volume
                )
                for found in outcome.bodies
                if moving is not None
            },
        )
        for outcome, row in zip(outcomes, rows, strict=True)
    ]


if __name__ == '__main__':
    raise SystemExit(main())
