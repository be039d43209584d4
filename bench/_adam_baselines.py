"""Gradient ascent with Adam as users of DiffDRR and nanodrr run it; both get the product's mask."""

import time
from collections.abc import Callable

import torch
from _levels import Level, level_of, masked_ncc
from _peers import diffdrr_trilinear, nanodrr_subject

from sph_reg_ros.evaluation.trials import MethodResult
from sph_reg_ros.evaluation.viewpoints import BENCH_GEOMETRY
from sph_reg_ros.geometry import se3
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.view import View

Method = Callable[[View, torch.Tensor, float], MethodResult]
"""X-ray, initial camera_from_ct and time limit in seconds to outcome."""
TIME_LIMIT = 'time limit'


def diffdrr_adam(volume: AttenuationVolume) -> Method:
    """Return DiffDRR's trilinear renderer (500 points) under Adam on its NCC, coarse to fine.

    The loop, the rates and the schedule are those of xvr, the registration program of DiffDRR's
    author: 0.01 rad and 1 mm, divided by ten on a plateau of ten iterations, the next scale at the
    second plateau or after 500 iterations, and halved, then quartered, from scale to scale. Scales
    end at 256 px, as xvr's for DeepFluoro. `diffdrr.registration` itself only holds the parameters,
    and needs packages that the renderer does not.
    """

    def register(view: View, start: torch.Tensor, limit_s: float) -> MethodResult:
        began = time.perf_counter()
        rotation = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        shift_mm = torch.zeros(3, dtype=torch.float64, requires_grad=True)

        def pose() -> torch.Tensor:
            return se3.apply_twist(torch.cat([rotation, shift_mm]), start, volume.centre)

        iterations, slower, remark = 0, 1.0, ''
        for stage, height in enumerate((64, 128, 256)):
            level = level_of(view, min(height, view.camera.height))
            render = diffdrr_trilinear(volume, level.camera, 500)
            slower *= 2.0**stage
            ascent = _Ascent(rotation, shift_mm, slower)
            for _ in range(500):
                score = masked_ncc(render(pose()), level)
                plateaus = ascent.step(score)
                iterations += 1
                if time.perf_counter() - began > limit_s:
                    remark = TIME_LIMIT
                if plateaus == 2 or remark:
                    break
            if remark:
                break
        return MethodResult(pose().detach(), time.perf_counter() - began, iterations, remark)

    return register


class _Ascent:
    """Adam with a rate that falls on plateaus."""

    def __init__(self, rotation: torch.Tensor, shift_mm: torch.Tensor, slower: float) -> None:
        self.rate, self.plateaus = 1e-2 / slower, 0
        self.adam = torch.optim.Adam(
            [
                {'params': [rotation], 'lr': self.rate},
                {'params': [shift_mm], 'lr': 1.0 / slower},
            ],
            maximize=True,
        )
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.adam, mode='max', factor=0.1, patience=10, threshold=1e-4
        )

    def step(self, score: torch.Tensor) -> int:
        """Go one step up; return how many plateaus there were."""
        self.adam.zero_grad()
        score.backward()
        self.adam.step()
        self.schedule.step(float(score.detach()))
        rate = self.schedule.get_last_lr()[0]
        self.plateaus += rate < self.rate
        self.rate = rate
        return self.plateaus


def nanodrr_adam(volume: AttenuationVolume) -> Method:
    """Return nanodrr's `Registration` under the Adam loop of its tutorial.

    0.05 rad and 10 mm a step, up to 500 iterations, until its NCC exceeds 0.999. One scale of
    128 px, less than the tutorial's 200 px, in favour of its time.
    """
    from nanodrr.metrics import NormalizedCrossCorrelation2d
    from nanodrr.registration import Registration

    subject, similarity = nanodrr_subject(volume), NormalizedCrossCorrelation2d()

    def register(view: View, start: torch.Tensor, limit_s: float) -> MethodResult:
        began = time.perf_counter()
        level = level_of(view, min(128, view.camera.height))
        torch.manual_seed(0)
        registration = Registration(
            subject,
            se3.inverse(start).float()[None],
            _nanodrr_inverse_intrinsics(level),
            torch.tensor([BENCH_GEOMETRY.sdd_mm]),
            *level.camera.size,
        )
        fixed = level.image[level.mask][None, None, None]
        adam = torch.optim.Adam(
            [
                {'params': [registration._rot], 'lr': 5e-2},
                {'params': [registration._xyz], 'lr': 1e1},
            ],
            maximize=True,
        )
        iterations, remark = 0, ''
        while iterations < 500:
            adam.zero_grad()
            score = similarity(fixed, registration()[..., level.mask][:, :, None])
            score.backward()
            adam.step()
            iterations += 1
            if float(score.detach()) > 0.999:
                break
            if time.perf_counter() - began > limit_s:
                remark = TIME_LIMIT
                break
        found = torch.linalg.inv(registration.pose[0].detach().double())
        return MethodResult(found, time.perf_counter() - began, iterations, remark)

    return register


def _nanodrr_inverse_intrinsics(level: Level) -> torch.Tensor:
    """Return the inverse of K for pixel centres at halves instead of integers."""
    K = level.camera.K.clone()
    K[:2, 2] += 0.5
    return torch.linalg.inv(K).float()[None]
