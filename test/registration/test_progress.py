"""What an observer hears of a registration, and how soon it can stop one."""

from collections.abc import Callable

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, moved, xray

from sph_reg_ros.errors import CancelledError
from sph_reg_ros.geometry import Camera, se3
from sph_reg_ros.registration import level
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.part import register_part
from sph_reg_ros.registration.part_search import PartSearch
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Progress
from sph_reg_ros.registration.view import View

VOLUME = smooth_phantom()
TRUTH = pose_in_front(VOLUME)
IMAGE = xray(VOLUME, TRUTH)
ONE_IMAGE = CAMERA.height * CAMERA.width
STAGES = ['prepare', 'search', 'refine', 'verify']


def request_of(views: int = 1, **config) -> RegistrationRequest:
    place = torch.eye(4, dtype=torch.float64)
    settings = RegistrationConfig(**(vars(CONFIG) | config))
    start = moved(VOLUME, TRUTH, seed=1)
    return RegistrationRequest(VOLUME, (View(IMAGE, CAMERA, None, place),) * views, start, settings)


class Work:
    """Counts pixels that are rendered; `at_once` is the most between two reports."""

    def __init__(self) -> None:
        self.unreported = self.at_once = 0
        self.seen: list[Progress] = []

    def counted(self, renderer: Callable) -> Callable:
        def rendered(volume, poses, K, size, **options):
            self.unreported += size[0] * size[1] * (1 if poses.ndim == 2 else len(poses))
            self.at_once = max(self.at_once, self.unreported)
            return renderer(volume, poses, K, size, **options)

        return rendered

    def observe(self, progress: Progress) -> None:
        self.unreported = 0
        self.seen.append(progress)


@pytest.fixture
def work(monkeypatch) -> Work:
    counter = Work()
    monkeypatch.setattr(level, 'PIXELS_AT_A_TIME', ONE_IMAGE)
    for name in ('render', 'render_with_jacobian'):
        monkeypatch.setattr(level, name, counter.counted(getattr(level, name)))
    return counter


@pytest.mark.parametrize('views', [1, 2])
def test_never_is_more_than_one_image_rendered_without_a_report(work, views):
    register(request_of(views), work.observe)
    assert work.at_once == ONE_IMAGE
    assert work.unreported <= ONE_IMAGE


def test_a_wide_search_reports_all_through_its_many_renderings(work):
    register(request_of(search_rotation_rad=0.3, levels=(24,)), work.observe, verified=False)
    assert 0 < work.at_once <= ONE_IMAGE
    assert len([p for p in work.seen if p.stage == 'search']) > 50


def test_the_stages_come_in_turn_and_the_checks_are_one_of_them():
    seen: list[Progress] = []
    result = register(request_of(), seen.append)
    names = [progress.stage.split()[0] for progress in seen]
    assert list(dict.fromkeys(names)) == STAGES
    assert names == sorted(names, key=STAGES.index)
    verifying = [progress for progress in seen if progress.stage.startswith('verify')]
    assert {p.stage for p in verifying} == {
        'verify',
        'verify 24 px',
        'verify 48 px',
        'verify 96 px',
    }
    assert {p.iteration for p in verifying} == {result.iterations}
    assert all(p.loss == pytest.approx(1 - result.similarity_after) for p in verifying)
    elapsed = [progress.elapsed_s for progress in seen]
    assert elapsed == sorted(elapsed)


def test_without_checks_no_report_speaks_of_them():
    seen: list[Progress] = []
    register(request_of(), seen.append, verified=False)
    assert not [progress for progress in seen if progress.stage.startswith('verify')]


@pytest.mark.parametrize('share', [0.0, 0.3, 0.6, 0.99])
def test_who_cancels_during_the_checks_is_obeyed_before_another_rendering(work, share):
    request = request_of()
    register(request, work.observe)
    reports = [p for p in work.seen if p.stage.startswith('verify')]
    assert len(reports) > 15
    until, work.seen = int(share * len(reports)), []

    def cancel(progress: Progress) -> None:
        work.observe(progress)
        if len([p for p in work.seen if p.stage.startswith('verify')]) > until:
            raise CancelledError

    with pytest.raises(CancelledError):
        register(request, cancel)
    assert work.unreported == 0 and work.seen[-1].stage.startswith('verify')


def part_request() -> RegistrationRequest:
    camera = Camera.from_geometry(1000.0, (1.6, 1.6), (160, 140))
    view = View(xray(VOLUME, TRUTH, camera), camera)
    twist = torch.tensor([0.01, 0.0, 0.01, 1.0, 0.0, 0.0], dtype=torch.float64)
    start = se3.apply_twist(twist, TRUTH, VOLUME.centre)
    config = RegistrationConfig(levels=(24, 48), similarity='ncc')
    return RegistrationRequest(VOLUME, (view,), start, config)


SHORT = PartSearch(samples=8, refined=2, survivors=1, finished=1)


def test_the_search_for_a_part_reports_and_can_be_cancelled_as_well(work):
    register_part(part_request(), SHORT, work.observe)
    assert work.at_once <= max(ONE_IMAGE, 160 * 140)
    names = {progress.stage.split()[0] for progress in work.seen}
    assert names == set(STAGES)
    elapsed = [progress.elapsed_s for progress in work.seen]
    assert elapsed == sorted(elapsed)

    def cancel(progress: Progress) -> None:
        work.observe(progress)
        if progress.stage.startswith('verify'):
            raise CancelledError

    with pytest.raises(CancelledError):
        register_part(part_request(), SHORT, cancel)
    assert work.unreported == 0
