"""How far a registration is: what its observer hears, and the seconds of its steps."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from sph_reg_ros.registration.level import Level
from sph_reg_ros.registration.result import Progress

Observer = Callable[[Progress], None]


class Course:
    """The course of one registration.

    Attributes:
        laps: seconds a step, by its name.
    """

    def __init__(self, observer: Observer | None = None) -> None:
        """Start the clock; `observer` may raise to stop, here and in any other method."""
        self.laps: dict[str, float] = {}
        self._observer = observer
        self._start = self._last = perf_counter()
        self._prefix = ''
        self.begin('prepare')

    def begin(self, stage: str, loss: float = 1.0, iteration: int = 0) -> None:
        """Start a stage.

        Args:
            stage: its name, with {} for the height of the images that are compared, if that counts.
            loss: 1 - similarity there.
            iteration: steps of the solver so far.
        """
        self._stage, self._loss, self._iteration = stage, loss, iteration
        self._best: dict[str, float] = {}
        self.report()

    def lap(self, name: str) -> None:
        """Note the seconds since the last one under a name."""
        now = perf_counter()
        self.laps[self._prefix + name], self._last = now - self._last, now

    def again(self) -> None:
        """Count what follows by itself; what was broken off counts, too."""
        self.lap('broken off')
        self._prefix = 'again: '
        self.begin('prepare')

    def on_work(self, level: Level) -> None:
        """Report that the stage goes on."""
        self.report(f'{level.height} px')

    def on_step(self, level: Level, iteration: int, cost: float) -> None:
        """Report a step of the solver."""
        # |r|^2 = 2 (1 - similarity) a view.
        self._iteration, self._loss = iteration, cost / 2 / len(level.views)
        self.on_work(level)

    def report(self, height: str = '') -> None:
        """Tell the observer, which may raise to stop."""
        name = self._stage.format(height).strip()
        self._best[name] = min(self._best.get(name, self._loss), self._loss)
        if self._observer is not None:
            elapsed = perf_counter() - self._start
            self._observer(Progress(name, self._iteration, self._loss, self._best[name], elapsed))

    def pass_on(self, progress: Progress) -> None:
        """Tell the observer of a registration that is a part of this one."""
        if self._observer is not None:
            self._observer(replace(progress, elapsed_s=perf_counter() - self._start))
