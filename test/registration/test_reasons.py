"""The sentences below a verdict."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from phantoms import pose_in_front, smooth_phantom
from registration_scenes import CAMERA, CONFIG, moved, xray

from sph_reg_ros.errors import ErrorCode
from sph_reg_ros.registration import gate
from sph_reg_ros.registration.reasons import (
    OF_CHECKS,
    OF_DOUBTS,
    InputDoubt,
    failures,
    finding_of,
)
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import Check, Verdict
from sph_reg_ros.registration.target import find_target
from sph_reg_ros.registration.view import View

SOURCES = sorted(Path(gate.__file__).parent.glob('*.py'))
EXPLANATIONS = [*OF_CHECKS.values(), *(explanation for _, explanation in OF_DOUBTS.values())]


def codes_in(path: Path) -> set[str]:
    """Return the names after `ErrorCode.` in a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding='utf-8')))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if getattr(node.value, 'id', '') == 'ErrorCode'}


def failed(name: str, code: ErrorCode, verdict: Verdict = Verdict.REJECTED) -> Check:
    return Check.at_most(name, 2.0, 1.0, (verdict, code))


def test_every_code_that_a_check_can_give_has_its_sentences():
    codes = set().union(*map(codes_in, SOURCES)) - {ErrorCode.NONE.name}
    assert len(codes) > 9  # they were found at all
    assert codes <= {key.name for key in OF_CHECKS if isinstance(key, ErrorCode)}


def test_every_check_of_a_real_registration_is_explained_if_it_fails():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    place = torch.eye(4, dtype=torch.float64)
    views = (View(xray(volume, pose), CAMERA, None, place),) * 2
    request = RegistrationRequest(volume, views, moved(volume, pose, seed=1), CONFIG)
    checks = register(request).checks
    split = replace(CONFIG, max_tre_across_mm=1.0, max_tre_along_mm=2.0, starts=0)
    box = ' '.join(f'{x + side:.0f}' for x in volume.centre.tolist() for side in (-12, 12))
    split_request = replace(request, config=split, target=find_target(box, volume))
    names = {check.name for check in (*checks, *register(split_request).checks)}
    # The one check of tracking alone (test_track).
    assert {key for key in OF_CHECKS if type(key) is str} - {'frames_since_full_checks'} <= names
    for check in checks:
        code = check.reason or ErrorCode.SIMILARITY_TOO_LOW
        finding = finding_of([replace(check, verdict=Verdict.REJECTED, reason=code)])
        assert finding is not None and finding.explanation.reason


@pytest.mark.parametrize('explanation', EXPLANATIONS, ids=lambda e: e.reason[:30])
def test_reason_and_advice_are_one_sentence_each(explanation):
    for text in (explanation.reason, explanation.advice):
        assert text[0].isupper() and text.endswith('.')
        assert text.count('. ') == 0 and '  ' not in text
    assert str(explanation) == f'{explanation.reason} Advice: {explanation.advice}'


def test_every_doubt_about_an_input_is_explained():
    assert set(OF_DOUBTS) == set(InputDoubt)


def test_the_most_fundamental_failure_is_named_whatever_the_order_and_the_verdict():
    uncertain = failed('tre_p95_mm', ErrorCode.POSE_UNCERTAIN)
    starts = failed('other_starts_mm', ErrorCode.STARTS_DISAGREE)
    overlap = failed('overlap', ErrorCode.LITTLE_OVERLAP, Verdict.UNVERIFIED)
    for checks in ([uncertain, starts, overlap], [overlap, starts, uncertain]):
        assert failures(checks) == [overlap, starts, uncertain]
        finding = finding_of(checks)
        assert finding is not None and finding.code == ErrorCode.LITTLE_OVERLAP


def test_that_something_moved_is_no_reason_where_another_pose_of_all_looks_better():
    moved = failed('target_moved_mm', ErrorCode.BODY_MOVED)
    patches = failed('agreeing_patches', ErrorCode.SIMILARITY_TOO_LOW)
    rival = failed('rival', ErrorCode.RIVAL_POSE)
    assert finding_of([moved, patches]).code == ErrorCode.BODY_MOVED
    assert finding_of([moved, patches, rival]).code == ErrorCode.RIVAL_POSE


def test_a_check_with_sentences_of_its_own_does_not_get_those_of_its_code():
    views = finding_of([failed('views_disagree_mm', ErrorCode.NOT_CONVERGED)])
    solver = finding_of([failed('convergence', ErrorCode.NOT_CONVERGED)])
    assert views.code == solver.code and 'imager pose' in views.explanation.reason
    assert views.explanation != solver.explanation


def test_a_doubt_about_an_input_comes_before_the_checks_but_not_without_a_failure():
    misfit = [failed('camera_misfit', ErrorCode.CAMERA_INVALID)]
    finding = finding_of(misfit, (InputDoubt.INVERTED_IMAGE,))
    assert finding.code == ErrorCode.IMAGE_CONTENT and 'inverted' in finding.explanation.reason
    # The CT judges whether an image is a negative.
    doubts = (InputDoubt.INVERTED_IMAGE, InputDoubt.CT_NOT_HOUNSFIELD)
    assert finding_of(misfit, doubts).code == ErrorCode.CT_UNREADABLE
    good = Check.at_most('overlap', 0.0, 1.0, (Verdict.REJECTED, ErrorCode.LITTLE_OVERLAP))
    assert finding_of([good], doubts) is None


def test_doubts_of_a_request_reach_its_result():
    volume = smooth_phantom()
    pose = pose_in_front(volume)
    noise = torch.rand(CAMERA.size, generator=torch.Generator().manual_seed(0))
    doubts = (InputDoubt.INVERTED_IMAGE,)
    request = RegistrationRequest(volume, (View(noise, CAMERA),), pose, CONFIG, doubts=doubts)
    result = register(request)
    assert result.finding is not None and result.finding.code == ErrorCode.IMAGE_CONTENT
    assert result.verification.reasons  # what the checks themselves say is kept
