"""CMA-ES on global NCC with our own fast renderer: what its search costs, not its rendering."""

import time

import numpy as np
import torch
from _adam_baselines import TIME_LIMIT, Method
from _levels import Level, level_of, masked_ncc

from sph_reg_ros.evaluation.protocols import Protocol, perturbed
from sph_reg_ros.evaluation.trials import MethodResult
from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.registration.view import View
from sph_reg_ros.rendering.render import render

# Height, population, first step as a share of the protocol's widths, most generations.
STAGES = ((64, 50, 1.0, 60), (128, 30, 0.1, 30), (256, 15, 0.02, 20))
_LEAST_GAIN, _PATIENCE = 1e-6, 8


def cma_es(volume: AttenuationVolume, protocol: Protocol, seed: int = 0) -> Method:
    """Return CMA-ES (N. Hansen; library `cmaes`), coarse to fine, told how wide to search."""
    from cmaes import CMA

    volumes = {height: volume.coarsened(206.0 / height) for height, *_ in STAGES}
    widths = np.asarray(protocol.standard_deviations)

    def register(view: View, start: torch.Tensor, limit_s: float) -> MethodResult:
        began, iterations, remark = time.perf_counter(), 0, ''
        best = np.zeros(6)
        for height, population, share, generations in STAGES:
            level = level_of(view, min(height, view.camera.height))
            search = CMA(mean=best, sigma=share, population_size=population, seed=seed)
            top, since = -1.0, 0
            for _ in range(generations):
                asked = [search.ask() for _ in range(population)]
                scores = _scores(volumes[height], level, start, np.array(asked) * widths)
                search.tell([(x, -score) for x, score in zip(asked, scores, strict=True)])
                iterations += 1
                since = 0 if max(scores) > top + _LEAST_GAIN else since + 1
                if max(scores) > top:
                    top, best = max(scores), asked[int(np.argmax(scores))]
                if time.perf_counter() - began > limit_s:
                    remark = TIME_LIMIT
                if since >= _PATIENCE or remark:
                    break
            if remark:
                break
        pose = perturbed(start, torch.from_numpy(best * widths), volume.centre)
        return MethodResult(pose, time.perf_counter() - began, iterations, remark)

    return register


def _scores(
    volume: AttenuationVolume, level: Level, start: torch.Tensor, twists: np.ndarray
) -> list[float]:
    poses = torch.stack(
        [perturbed(start, torch.from_numpy(twist), volume.centre) for twist in twists]
    )
    images = render(volume, poses, level.camera.K, level.camera.size)
    return masked_ncc(images, level).nan_to_num(-1.0).tolist()
