"""Whether the learned distance is that of the poses, on X-rays of another renderer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from _learned import Learned
from _study import Study, counted
from _traces import slopes
from torch import Tensor

from sph_reg_ros.evaluation.cases import Case
from sph_reg_ros.evaluation.protocols import FAR
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry import se3, so4
from sph_reg_ros.geometry.carm import camera_from_ct_for_angles
from sph_reg_ros.geometry.geodesics import twist_angles_deg
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.similarity.spherical import SCALE
from sph_reg_ros.training.losses import MM_PER_DISTANCE, true_gradient
from sph_reg_ros.training.poses import Displacements
from sph_reg_ros.training.seeding import generator_of


@dataclass(frozen=True)
class Pairs:
    """Pairs of an X-ray and a rendering at another pose.

    Attributes:
        learned_mm: learned distances [n], as millimetres.
        true_mm: those of the poses in SO(4) [n].
        angles_deg: between learned and true gradient [n, 2], of rotation and of translation.
        left_out: pairs whose rendering shows nothing.
    """

    learned_mm: Tensor
    true_mm: Tensor
    angles_deg: Tensor
    left_out: int

    @property
    def correlation(self) -> float:
        """Return Pearson's correlation of the distances."""
        return float(torch.corrcoef(torch.stack([self.learned_mm, self.true_mm]))[0, 1])

    def figures(self) -> dict[str, Any]:
        """Return the figures that are accepted or not, and the distances that they are from."""
        rotation_deg, translation_deg = self.angles_deg.quantile(0.5, dim=0).tolist()
        return {
            'pairs': len(self.true_mm),
            'left_out': self.left_out,
            'correlation': self.correlation,
            'rotation_deg': rotation_deg,
            'translation_deg': translation_deg,
            'median_error_mm': float((self.learned_mm - self.true_mm).abs().quantile(0.5)),
            'learned_mm': self.learned_mm.tolist(),
            'true_mm': self.true_mm.tolist(),
        }


def accept(study: Study, networks: dict[str, Networks], displaced: int) -> list[dict[str, Any]]:
    """Measure similarities; print and return the figures.

    Args:
        study: CT and cases.
        networks: by name.
        displaced: renderings for each X-ray.
    """
    titles = ('corr.', 8), ('rot. deg', 10), ('transl. deg', 13), ('mm', 8)
    words = ''.join(f'{title:>{width}}' for title, width in titles)
    print(f'\n{"similarity":<28}{"X-rays":>12}{words}')
    found = []
    for condition in study.conditions:
        cases = study.cases(FAR, condition)
        for name, some in networks.items():
            entry = pairs_of(Learned(study.bench_ct, some), cases, displaced).figures()
            found.append({'similarity': name, 'condition': condition, **entry})
            print(
                f'{name:<28}{condition:>12}{entry["correlation"]:>8.3f}'
                f'{entry["rotation_deg"]:>10.1f}{entry["translation_deg"]:>13.1f}'
                f'{entry["median_error_mm"]:>8.1f}',
                flush=True,
            )
    return found


def pairs_of(learned: Learned, cases: Sequence[Case], displaced: int) -> Pairs:
    """Compare each X-ray with renderings at displaced poses, as a registration does."""
    pairs, left_out = [], 0
    for case in counted(cases, 'pairs', len(cases)):
        kept = list(_compared(learned, case, displaced))
        left_out += displaced - len(kept)
        pairs += kept
    learned_mm, true_mm, found, true = (torch.stack(values) for values in zip(*pairs, strict=True))
    return Pairs(learned_mm, true_mm, twist_angles_deg(found, true), left_out)


def _compared(learned: Learned, case: Case, displaced: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield learned and true distance (mm), learned and true gradient."""
    centre_mm = learned.bench_ct.volume.centre
    twists = Displacements().draw(displaced, generator_of('cpu', 'acceptance', case.number))
    poses = se3.apply_twist(twists, case.truth.expand(displaced, 4, 4), centre_mm)
    frontal = camera_from_ct_for_angles(0.0, 0.0, BENCH_GEOMETRY.source_to_isocentre_mm, centre_mm)
    fixed, moving = (so4.pose_embedding(pose, frontal, centre_mm) for pose in (case.truth, poses))
    gradients = true_gradient(poses, fixed.expand(displaced, 2, 4), frontal, centre_mm)
    true_mm = MM_PER_DISTANCE * so4.distance(moving, fixed)
    level = learned.level(case, case.truth)
    equations = level.linearise(poses)
    learned_mm = MM_PER_DISTANCE * equations.cost.sqrt() / SCALE
    of_rows = zip(learned_mm, true_mm, slopes(equations), gradients, strict=True)
    for is_valid, of_row in zip(equations.valid, of_rows, strict=True):
        if is_valid:
            yield of_row
