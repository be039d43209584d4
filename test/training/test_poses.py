import math
from dataclasses import replace

import pytest
import torch
from training_jobs import CONFIG

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.evaluation.carm import CArmGeometry, Orbit
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY, Viewpoints
from sph_reg_ros.geometry import se3
from sph_reg_ros.geometry.carm import angles_from_camera_from_ct, camera_from_ct_for_angles
from sph_reg_ros.training.config_file import read_config
from sph_reg_ros.training.poses import Displacement, Displacements, PoseRanges
from sph_reg_ros.training.seeding import generator_of

CENTRE = torch.tensor([10.0, -20.0, 300.0], dtype=torch.float64)
PRIOR = PoseRanges((-100.0, 20.0), (-5.0, 30.0), (-10.0, 10.0), (650.0, 750.0), (5.0, 10.0, 20.0))


def draw(prior: PoseRanges, count: int = 300) -> torch.Tensor:
    return prior.draw(count, CENTRE, generator_of('cpu', 'test'))


def angles_deg(poses: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.tensor([angles_from_camera_from_ct(pose) for pose in poses]))


def test_angles_fill_their_ranges_and_stay_inside():
    primary, secondary = angles_deg(draw(PRIOR)).T
    assert -100 <= primary.min() < -95 and 15 < primary.max() <= 20
    assert -5 <= secondary.min() < -3 and 28 < secondary.max() <= 30
    assert abs(primary.mean() + 40) < 5


def test_distance_and_shift_of_the_isocentre_fill_their_ranges_and_stay_inside():
    poses = draw(replace(PRIOR, roll_deg=(0.0, 0.0)))
    for pose, (primary, secondary) in zip(poses, torch.deg2rad(angles_deg(poses)), strict=True):
        # Without roll the pose is one of `camera_from_ct_for_angles` about a shifted isocentre.
        plain = camera_from_ct_for_angles(float(primary), float(secondary), 1.0, CENTRE)
        assert torch.allclose(pose[:3, :3], plain[:3, :3], atol=1e-6)
    # Where the CT's middle lies, in CT axes: distance along the beam minus the shift.
    offsets = torch.stack(
        [pose[:3, :3].T @ (pose[:3, :3] @ CENTRE + pose[:3, 3]) for pose in poses]
    )
    beams = poses[:, 2, :3]
    nearest = (offsets * beams).sum(-1)
    assert nearest.min() > 650 - 30 and nearest.max() < 750 + 30
    across = offsets - nearest[:, None] * beams
    assert 15 < across.norm(dim=-1).max() < math.hypot(5, 10, 20)


def test_the_detector_rolls_about_the_beam():
    straight, rolled = (draw(replace(PRIOR, roll_deg=(angle, angle)), 5) for angle in (0.0, 90.0))
    turn = rolled @ se3.inverse(straight)
    wanted = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).double()
    assert torch.allclose(turn, wanted.expand_as(turn), atol=1e-9)


def test_the_nominal_view_is_the_middle_of_all_ranges():
    nominal = PRIOR.nominal(CENTRE)
    expected = camera_from_ct_for_angles(math.radians(-40), math.radians(12.5), 700.0, CENTRE)
    assert torch.allclose(nominal, expected)


def test_the_same_words_draw_the_same_poses():
    assert torch.equal(draw(PRIOR), draw(PRIOR))


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('primary_deg', (10.0, -10.0)),
        ('secondary_deg', (0.0, 95.0)),
        ('source_to_isocentre_mm', (0.0, 700.0)),
        ('shift_mm', (-1.0, 0.0, 0.0)),
        ('roll_deg', (math.nan, 0.0)),
    ],
)
def test_ranges_that_make_no_sense_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        replace(PRIOR, **{name: value})


def test_the_quick_settings_cover_all_views_of_benchmark_and_demo_with_a_margin():
    config = read_config(CONFIG / 'train_quick.yaml')
    views, orbit, prior = Viewpoints(), Orbit(), config.poses
    lateral = 90.0 + views.lateral_primary_deg
    primary = max(lateral, abs(orbit.primary_start_deg), abs(orbit.primary_stop_deg))
    secondary = max(
        views.frontal_secondary_deg, views.lateral_secondary_deg, abs(orbit.secondary_deg)
    )
    for angle, (low, high) in ((primary, prior.primary_deg), (secondary, prior.secondary_deg)):
        assert low <= -angle - 3 and angle + 3 <= high
    assert min(prior.shift_mm) >= 1.2 * views.jitter_mm
    for geometry in (BENCH_GEOMETRY, CArmGeometry()):
        low, high = prior.source_to_isocentre_mm
        assert low < geometry.source_to_isocentre_mm - 10
        assert geometry.source_to_isocentre_mm + 10 < high
        assert config.imager.sdd_mm == geometry.sdd_mm
    assert prior.roll_deg[0] < 0 < prior.roll_deg[1]


def test_displacements_are_a_mixture_of_normal_distributions():
    kinds = Displacements(
        near=Displacement(0.6, 1.0, 2.0, 3.0),
        usual=Displacement(0.0, 9.0, 9.0, 9.0),
        far=Displacement(0.4, 10.0, 200.0, 1e6),
    )
    twists = kinds.draw(4000, generator_of('cpu', 'test'))
    is_far = twists[:, 5].abs() > 12.0
    assert abs(is_far.double().mean() - 0.4) < 0.04
    near, far = twists[~is_far].std(0), twists[is_far].std(0)
    degree = math.radians(1.0)
    assert torch.allclose(
        near[:5] / torch.tensor([degree] * 3 + [2.0] * 2), torch.ones(5).double(), atol=0.1
    )
    assert torch.allclose(
        far[:5] / torch.tensor([10 * degree] * 3 + [200.0] * 2), torch.ones(5).double(), atol=0.1
    )


def test_a_mixture_of_nothing_is_refused():
    nothing = Displacement(0.0, 1.0, 1.0, 1.0)
    with pytest.raises(ConfigError, match='zero'):
        Displacements(nothing, nothing, nothing)
