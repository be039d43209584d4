"""Wrong cameras before the gate: is a pose VERIFIED that a wrong camera has made wrong?

Each X-ray is registered as by a user whose camera file is wrong: pixels of another width, another
focal length or principal point, or an image with distortion that the file does not name. The true
camera is among them. --calibration is what the registration is told of the camera: calibrated is
true of the true one, nominal of those that are wrong. The start is the truth, so that what goes
wrong is the camera's fault alone. X-rays are those of register.py, near.

"within" counts errors within the bound, whatever the verdict, "across" those of the part across the
beam within its own.

A full run: --ct chest pelvis lumbar head --cases 12 --strict --json cameras.json, and the same with
--calibration nominal.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from _targets import Target, print_targets
from register import CTS

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.cases import CONDITIONS, BenchCT, Case, CaseMaker
from sph_reg_ros.evaluation.path_cache import PathCache, default_cache_folder
from sph_reg_ros.evaluation.protocols import NEAR
from sph_reg_ros.geometry import Camera
from sph_reg_ros.geometry.box import mean_distance_mm
from sph_reg_ros.imaging.sample_ct import sample_ct_path
from sph_reg_ros.registration.calibration import CALIBRATIONS
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.gate.target_errors import TargetErrors
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Verdict
from sph_reg_ros.registration.view import View

RIGHT = 'right'
KINDS = {
    RIGHT: 0.0,
    'width +1 %': 1.0,
    'width -1 %': -1.0,
    'width +0.5 %': 0.5,
    'pincushion 2 %': -2.0,
    'barrel 2 %': 2.0,
    'focal length +1 %': 1.0,
    'focal length -2 %': -2.0,
    'principal point 8 px': 8.0,
}
WRONG_MM = 3.0
RIGHT_SHARE = 0.9
EVERY = 4
"""Cases of one X-ray pose; another pose tells more than another noise."""


@dataclass(frozen=True)
class CameraTrial:
    """What became of one X-ray with one camera."""

    ct: str
    condition: str
    case: int
    kind: str
    error_mm: float
    bound_mm: float
    across_mm: float
    bound_across_mm: float
    verified: bool
    aspect: float
    distortion: float


def main() -> None:
    """Print a table; write every trial with --json."""
    arguments = _arguments()
    trials = [
        trial
        for name in arguments.ct
        if (CTS[name] or sample_ct_path()).exists()
        for trial in _trials_of(name, arguments)
    ]
    if not trials:
        sys.exit('nothing was measured')
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + '\n')
    _print_table(trials)
    targets = _targets(trials)
    print_targets(targets)
    print(
        f'cameras: {len(trials)} registrations, {len(_deceived(trials))} VERIFIED beyond their '
        f'bound, {100 * _share_verified(_right(trials)):.0f} % of the right cameras VERIFIED'
    )
    if arguments.strict and not all(target.met for target in targets):
        sys.exit(1)


def _trials_of(name: str, arguments: argparse.Namespace) -> Iterator[CameraTrial]:
    bench_ct = BenchCT.load(CTS[name] or sample_ct_path())
    config = RegistrationConfig(method='image', starts=0, calibration=arguments.calibration)
    for condition in CONDITIONS:
        maker = CaseMaker(NEAR, condition, PathCache(arguments.cache))
        for number in range(0, EVERY * arguments.cases, EVERY):
            case = maker.case(bench_ct, number)
            for kind in arguments.kind:
                trial = _trial(name, bench_ct, condition, case, kind, config)
                if trial is not None:
                    yield trial


def _trial(
    name: str, bench_ct: BenchCT, condition: str, case: Case, kind: str, config: RegistrationConfig
) -> CameraTrial | None:
    """Return what comes of an X-ray; None if the solver refuses it."""
    view = _mistaken(case.view, kind)
    try:
        result = register(RegistrationRequest(bench_ct.volume, (view,), case.truth, config))
    except RegistrationError:
        return None
    pose = result.camera_from_ct[0]
    error_mm = float(mean_distance_mm(pose, case.truth, bench_ct.landmarks_mm))
    figures = {check.name: check.value for check in result.checks}
    along = torch.tensor(result.verification.along, dtype=torch.float64)
    at_targets = TargetErrors(pose, result.centre_lps_mm, bench_ct.landmarks_mm, along)
    trial = CameraTrial(
        name,
        condition,
        case.number,
        kind,
        error_mm,
        result.verification.tre_p95_mm,
        at_targets.to(case.truth).across_mm,
        result.verification.bound.across_mm,
        result.verdict == Verdict.VERIFIED,
        figures['aspect_misfit'],
        figures['distortion_misfit'],
    )
    print(trial, file=sys.stderr, flush=True)
    return trial


def _mistaken(view: View, kind: str) -> View:
    """Return an X-ray as somebody sees it whose camera is wrong by a kind."""
    amount, camera = KINDS[kind], view.camera
    K = camera.K.clone()
    if kind.startswith('width'):
        K[0, 0] /= 1 + amount / 100
    elif kind.startswith('focal'):
        K[:2, :2] *= 1 + amount / 100
    elif kind.startswith('principal'):
        K[0, 2] += amount
    elif kind != RIGHT:
        return _distorted(view, amount / 100)
    return replace(view, camera=Camera(K, *camera.size))


def _distorted(view: View, share: float) -> View:
    """Return an X-ray whose pixels at the edges' middles are displaced by a share of the radius."""
    rows, columns = (torch.linspace(-1, 1, side) for side in view.line_integrals.shape)
    v, u = torch.meshgrid(rows, columns, indexing='ij')
    scale = 1 + share * (u * u + v * v)
    grid = torch.stack([u * scale, v * scale], -1)[None]

    def sampled(image: torch.Tensor, mode: str) -> torch.Tensor:
        return torch.nn.functional.grid_sample(
            image[None, None].float(), grid, mode, padding_mode='border', align_corners=True
        )[0, 0]

    mask = torch.ones_like(scale) if view.mask is None else view.mask
    return replace(
        view,
        line_integrals=sampled(view.line_integrals, 'bicubic'),
        mask=(sampled(mask, 'bilinear') > 0.99) & (grid[0].abs() <= 1).all(-1),
    )


def _print_table(trials: list[CameraTrial]) -> None:
    print(
        f'{"camera":22}{"cases":>6}{">= 3 mm":>9}{"VERIFIED":>10}{"and >= 3 mm":>13}'
        f'{"beyond bound":>14}{"within":>8}{"across":>8}{"aspect %":>10}{"distortion %":>14}'
    )
    for kind in dict.fromkeys(trial.kind for trial in trials):
        some = [trial for trial in trials if trial.kind == kind]
        wrong = [trial for trial in some if trial.error_mm >= WRONG_MM]
        aspect, distortion = (
            torch.tensor([getattr(trial, name) for trial in some]).median()
            for name in ('aspect', 'distortion')
        )
        print(
            f'{kind:22}{len(some):6}{len(wrong):9}{sum(t.verified for t in some):10}'
            f'{sum(t.verified for t in wrong):13}{len(_deceived(some)):14}'
            f'{sum(t.error_mm <= t.bound_mm for t in some):8}'
            f'{sum(t.across_mm <= t.bound_across_mm for t in some):8}'
            f'{100 * aspect:10.2f}{100 * distortion:14.2f}'
        )


def _deceived(trials: list[CameraTrial]) -> list[CameraTrial]:
    """Return the trials whose pose is VERIFIED, wrong, and beyond the bound that was promised."""
    return [t for t in trials if t.verified and t.error_mm > max(t.bound_mm, WRONG_MM)]


def _right(trials: list[CameraTrial]) -> list[CameraTrial]:
    return [trial for trial in trials if trial.kind == RIGHT and trial.error_mm < WRONG_MM]


def _share_verified(trials: list[CameraTrial]) -> float:
    return sum(trial.verified for trial in trials) / max(len(trials), 1)


def _targets(trials: list[CameraTrial]) -> list[Target]:
    deceived, share = len(_deceived(trials)), _share_verified(_right(trials))
    return [
        Target('VERIFIED, wrong and beyond the bound', '0', str(deceived), deceived == 0),
        Target(
            'right cameras VERIFIED',
            f'>= {RIGHT_SHARE:.0%}',
            f'{share:.0%}',
            share >= RIGHT_SHARE,
        ),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--ct', nargs='+', choices=CTS, default=['chest'], help='which CTs')
    add('--cases', type=int, default=2, help='X-rays of each CT and condition')
    add('--kind', nargs='+', choices=KINDS, default=list(KINDS), help='which cameras')
    add('--calibration', choices=CALIBRATIONS, default='calibrated', help='as in the settings')
    add('--quick', action='store_true', help='the defaults')
    add('--json', type=Path, help='file for all trials')
    add('--strict', action='store_true', help='exit 1 where a target is missed')
    add('--cache', type=Path, default=default_cache_folder(), help='folder of path integrals')
    return parser.parse_args()


if __name__ == '__main__':
    main()
