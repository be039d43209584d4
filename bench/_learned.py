"""Registrations with networks and without, each as a function from a case to an outcome."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from _methods import DEFAULT, Method, ours, search_config
from torch import Tensor

from sph_reg_ros.errors import RegistrationError
from sph_reg_ros.evaluation.cases import BenchCT, Case
from sph_reg_ros.evaluation.protocols import Protocol, Start
from sph_reg_ros.evaluation.trials import MethodResult
from sph_reg_ros.registration.config import RegistrationConfig
from sph_reg_ros.registration.learned_initialisation import refined_by_networks, spherical_level
from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.registration.register import register
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.rendering.render import resolve_backend

IMAGE, PLAIN = 'image', 'image, no search'
REGRESSOR, REGRESSOR_POLISH = 'regressor only', 'regressor + image polish'
SPHERICAL, SPHERICAL_POLISH = 'spherical only', 'spherical + polish'


@dataclass(frozen=True)
class Answer:
    """A pose, how many steps it took, what the method thinks of it, and why it is not as asked."""

    camera_from_ct: Tensor
    iterations: int = 0
    verdict: str = ''
    remark: str = ''


@dataclass(frozen=True, eq=False)
class Learned:
    """The steps of the learned method, together and apart.

    Attributes:
        bench_ct: the CT.
        networks: that know it.
    """

    bench_ct: BenchCT
    networks: Networks

    def of_far_starts(self, protocol: Protocol) -> list[Method]:
        """Return the methods that are given an initial pose; the image search alone comes first."""
        image = replace(ours(DEFAULT, self.bench_ct, protocol), name=IMAGE)
        config = replace(search_config(protocol), method='spherical')
        return [
            image,
            timed(SPHERICAL, lambda case: self.by_sphere(case, *self._both(case))),
            timed(
                SPHERICAL_POLISH,
                lambda case: self.by_product(case, case.start.camera_from_ct, config),
            ),
        ]

    def of_no_guess(self) -> list[Method]:
        """Return the methods that are given the X-ray only."""
        regress = self.networks.regress
        return [
            timed(REGRESSOR, lambda case: Answer(regress(case.view))),
            timed(SPHERICAL, lambda case: self.by_sphere(case, regress(case.view))),
            timed(SPHERICAL_POLISH, lambda case: self.by_product(case, None)),
            timed(REGRESSOR_POLISH, lambda case: self.polished(case, Answer(regress(case.view)))),
        ]

    def of_starts_alone(self, protocol: Protocol) -> list[Method]:
        """Return the methods that have the initial pose, but no regressed one."""

        def sphere(case: Case) -> Answer:
            return self.by_sphere(case, case.start.camera_from_ct)

        return [
            timed(PLAIN, lambda case: self.polished(case, Answer(case.start.camera_from_ct))),
            replace(ours(DEFAULT, self.bench_ct, protocol), name=IMAGE),
            timed(SPHERICAL, sphere),
            timed(SPHERICAL_POLISH, lambda case: self.polished(case, sphere(case))),
        ]

    def by_sphere(self, case: Case, *starts: Tensor) -> Answer:
        """Return where the learned similarity leads to from the best of some poses."""
        request, steps = self._request(case, starts[0]), [0]

        def report(level: Level, step: int, cost: float) -> None:
            steps.append(step)

        level = self.level(case, starts[0])
        poses = refined_by_networks(level, torch.stack(starts), request, report)
        return Answer(poses[0], steps[-1])

    def level(self, case: Case, start: Tensor) -> Level:
        """Return X-ray and CT as the learned similarity compares them."""
        backend = resolve_backend('auto', self.bench_ct.volume)
        return spherical_level(self._request(case, start), self.networks, backend)

    def by_product(
        self, case: Case, start: Tensor | None, config: RegistrationConfig | None = None
    ) -> Answer:
        """Return what a user gets, by default one who does not tell how far off a start may be."""
        result = register(self._request(case, start, config))
        remark = '' if result.method == 'spherical' else f'went by {result.method}'
        pose = result.camera_from_ct[0]
        return Answer(pose, result.iterations, result.verdict.name, remark)

    def polished(self, case: Case, rough: Answer) -> Answer:
        """Return where images alone lead to from one pose."""
        config = RegistrationConfig(method='image', starts=0)
        result = register(self._request(case, rough.camera_from_ct, config))
        steps = rough.iterations + result.iterations
        return Answer(result.camera_from_ct[0], steps, result.verdict.name)

    def _both(self, case: Case) -> tuple[Tensor, Tensor]:
        return self.networks.regress(case.view), case.start.camera_from_ct

    def _request(
        self, case: Case, start: Tensor | None, config: RegistrationConfig | None = None
    ) -> RegistrationRequest:
        config = config or RegistrationConfig()
        volume, networks = self.bench_ct.volume, self.networks
        return RegistrationRequest(volume, (case.view,), start, config, networks=networks)


def timed(name: str, answer: Callable[[Case], Answer]) -> Method:
    """Return a method that counts seconds and turns an error into a refusal."""

    def run(case: Case) -> MethodResult:
        began = time.perf_counter()
        try:
            found = answer(case)
        except RegistrationError as error:
            seconds = time.perf_counter() - began
            return MethodResult(
                case.start.camera_from_ct, seconds, 0, f'refused: {error.code.name}'
            )
        seconds = time.perf_counter() - began
        pose = found.camera_from_ct
        return MethodResult(pose, seconds, found.iterations, found.remark, found.verdict)

    return Method(name, run)


def without_guess(case: Case, networks: Networks) -> Case:
    """Return a case whose start, which no method is given, is the regressed pose.

    So the figures of the start are those of the regressor, and a refusal counts with its error.
    """
    return replace(case, start=Start(networks.regress(case.view), 0))
