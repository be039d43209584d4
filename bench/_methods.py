"""The methods to compare, each as a function from a case to an outcome."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.protocols import Protocol
from sph_reg_ros.evaluation.trials import MethodResult
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest

DEFAULT = 'default'
BASELINES = {'diffdrr': 'DiffDRR Adam', 'nanodrr': 'nanodrr Adam', 'cmaes': 'CMA-ES, our renderer'}


@dataclass(frozen=True)
class Method:
    """A name to print, and what turns a case into an outcome."""

    name: str
    register: Callable[[Case], MethodResult]


def ours(name: str, bench_ct: BenchCT, protocol: Protocol) -> Method:
    """Return our registration.

    Args:
        name: 'default', or SIMILARITY, or SIMILARITY/ROBUST_KERNEL.
        bench_ct: the CT.
        protocol: how far off the starts are; the search is told, as a user would tell it.
    """
    config = _config(name, protocol)
    volume = bench_ct.volume

    def run(case: Case) -> MethodResult:
        start = case.start.camera_from_ct
        told = start if protocol.told else None
        began = time.perf_counter()
        try:
            result = register(RegistrationRequest(volume, (case.view,), told, config))
        except RegistrationError as error:
            seconds = time.perf_counter() - began
            return MethodResult(start, seconds, 0, f'refused: {error.code.name}')
        seconds = time.perf_counter() - began
        verdict = result.verdict.name
        return MethodResult(result.camera_from_ct[0], seconds, result.iterations, verdict=verdict)

    return Method(f'{config.similarity}/{config.robust_kernel}', run)


def baselines(
    names: list[str], bench_ct: BenchCT, protocol: Protocol, limit_s: float
) -> Iterator[Method]:
    """Yield the baselines that are installed, with a time limit for each case."""
    for name in names:
        try:
            program = _baseline(name, bench_ct, protocol)
        except ImportError as error:
            print(f'{BASELINES[name]}: left out, {error}')
            continue

        def run(case: Case, program: Callable[..., MethodResult] = program) -> MethodResult:
            return program(case.view, case.start.camera_from_ct, limit_s)

        yield Method(BASELINES[name], run)


def _baseline(name: str, bench_ct: BenchCT, protocol: Protocol) -> Callable[..., MethodResult]:
    # Late: these libraries may be missing.
    from _adam_baselines import diffdrr_adam, nanodrr_adam
    from _cma_baseline import cma_es

    if name == 'cmaes':
        return cma_es(bench_ct.volume, protocol)
    return {'diffdrr': diffdrr_adam, 'nanodrr': nanodrr_adam}[name](bench_ct.volume)


def search_config(protocol: Protocol) -> RegistrationConfig:
    """Return settings for image search that know how far off a protocol's starts are."""
    if not protocol.told:
        return RegistrationConfig(method='image')
    rotation_rad, _, _, in_plane_mm, _, depth_mm = protocol.standard_deviations
    return RegistrationConfig(
        method='image',
        search_rotation_rad=rotation_rad,
        search_in_plane_mm=in_plane_mm,
        search_depth_mm=depth_mm,
    )


def _config(name: str, protocol: Protocol) -> RegistrationConfig:
    config = search_config(protocol)
    if name == DEFAULT:
        return config
    similarity, _, kernel = name.partition('/')
    return replace(config, similarity=similarity, robust_kernel=kernel or config.robust_kernel)
