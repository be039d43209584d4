"""The training loop: steps, log, checkpoints, measurements on held-out X-rays."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sph_reg_ros.networks import weights
from sph_reg_ros.training import checkpoint
from sph_reg_ros.training.data import seed_networks, step_key
from sph_reg_ros.training.held_out import HeldOut
from sph_reg_ros.training.history import History
from sph_reg_ros.training.job import TrainingJob
from sph_reg_ros.training.optimiser import Learner, optimiser_of
from sph_reg_ros.training.producer import batches
from sph_reg_ros.training.progress import Means, Speedometer, Trained, TrainingProgress
from sph_reg_ros.training.state import resumed
from sph_reg_ros.training.stop import stop_asked

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Observer = Callable[[TrainingProgress], None]
WEIGHTS_FOLDER = 'weights'
NETWORK, WAITING = 'network', 'waiting'


class Training:
    """One training in a folder.

    The folder gets `checkpoint.safetensors`, `history.jsonl`, TensorBoard's `log/` and, at each
    measurement on held-out X-rays, `weights/`. Only the first of several processes writes.
    """

    def __init__(
        self,
        fabric: 'Fabric',
        job: TrainingJob,
        folder: Path,
        observer: Observer = lambda progress: None,
        resume: bool = False,
    ) -> None:
        """Prepare networks and CTs, as they were at the last checkpoint if there is one.

        Args:
            fabric: with all processes running.
            job: what to train, on what.
            folder: where to write; made if it is not there.
            observer: told of every entry of the log.
            resume: go on with the training in the folder, if there is one.

        Raises:
            ConfigError: the folder has a training that is not to go on, or not with these settings.
            WeightsError: its checkpoint cannot be used.
        """
        self._fabric, self._job, self._folder, self._observer = fabric, job, folder, observer
        self._identity = job.identity(fabric.world_size)
        self._state, found = resumed(folder, self._identity, resume)
        self._task = task = job.task(fabric.device)
        self._steps = task.schedule.steps(fabric.world_size)
        self._optimiser = optimiser_of(task.module, task.schedule, task.pretrained)
        self._module, self._wrapped = fabric.setup(task.module, self._optimiser)
        if found is not None:
            # Now that weights are on their device: moments go where they are.
            found.restore(task.module, self._optimiser)
        self._means = Means(self._state.sums, self._state.count)
        self._speed = Speedometer(self._state.step)
        self._held_out = HeldOut(task, job.seed)
        self._started = self._kept = time.monotonic()
        self._seconds_before = self._state.seconds

    def run(self) -> Trained:
        """Train to the end, or until SIGINT or SIGTERM.

        Raises:
            SolverError: NUMERICAL if there is no gradient to follow any more.
            OSError: a file cannot be written.
        """
        settings, state = self._job.config.run, self._state
        self._folder.mkdir(parents=True, exist_ok=True)
        history = History(self._folder, state.step) if self._fabric.is_global_zero else None
        # Set explicitly, because the thread that makes batches sets its own.
        torch.set_num_threads(torch.get_num_threads())
        self._speed.take(state.step)
        left = range(state.step, self._steps)
        with stop_asked() as asked:
            with batches(self._batch, left, settings.overlap, settings.renderer_threads) as made:
                self._walk(made, asked.is_set, history)
            self._keep()
        if history is not None:
            history.close()
        return Trained(state.step, self._steps, state.accuracy)

    def _walk(
        self, made: Iterator[Any], asked: Callable[[], bool], history: History | None
    ) -> None:
        """Make steps until there are no more, or until it is asked to stop."""
        schedule, state = self._task.schedule, self._state
        learner = Learner(self._fabric, self._module, self._wrapped, schedule)
        self._module.train()
        while state.step < self._steps and not self._agreed(asked()):
            self._learn(learner, made)
            state.step += 1
            if state.step % schedule.log_steps == 0:
                self._log(history)
            if state.step % schedule.validation_steps == 0 or state.step == self._steps:
                self._measure(history)
                self._keep()
            elif time.monotonic() - self._kept > schedule.checkpoint_s:
                self._keep()

    def _learn(self, learner: Learner, made: Iterator[Any]) -> None:
        step, watch = self._state.step, self._task.stopwatch
        with watch.part(WAITING):
            batch = next(made)
        seed_networks(self._job.seed, self._fabric.global_rank, step)
        with watch.part(NETWORK, self._is_timed(step)):
            losses = learner.learn(batch, step)
        if losses is not None:
            self._means.add(losses)

    def _batch(self, step: int) -> Any:
        seed_key = step_key(self._job.seed, self._fabric.global_rank, step)
        return self._task.batch(self._task.schedule.batch, seed_key, self._is_timed(step))

    def _is_timed(self, step: int) -> bool:
        return step % self._task.schedule.log_steps == 0

    def _log(self, history: History | None) -> None:
        step, schedule = self._state.step, self._task.schedule
        steps_per_s = self._speed.take(step)
        progress = TrainingProgress(
            step=step,
            steps=self._steps,
            losses=self._means.take(),
            accuracy=dict(self._state.accuracy),
            images_per_s=steps_per_s * schedule.batch * self._fabric.world_size,
            seconds_left=(self._steps - step) / max(steps_per_s, 1e-9),
            seconds_a_step=self._task.stopwatch.take(),
        )
        if history is None:
            return
        rate = schedule.learning_rate_at(step - 1, self._steps)
        speed = {'images_per_s': progress.images_per_s, 'learning_rate': rate}
        seconds = {f'seconds_{name}': value for name, value in progress.seconds_a_step.items()}
        history.add(step, {**progress.losses, **speed, **seconds})
        self._observer(progress)

    def _measure(self, history: History | None) -> None:
        """Measure the network on held-out X-rays, and write it down."""
        if history is None:
            return
        start = time.monotonic()
        accuracy = self._held_out.measure()
        self._state.accuracy = accuracy
        history.add(self._state.step, accuracy)
        done = {'step': self._state.step, 'steps': self._steps, 'seconds': self._elapsed_s()}
        card = self._job.card({**self._identity, **done}, accuracy)
        weights.save(self._task.network, self._folder / WEIGHTS_FOLDER, card)
        self._speed.leave_out(time.monotonic() - start)

    def _keep(self) -> None:
        """Write a checkpoint."""
        if self._fabric.is_global_zero:
            state = self._state
            state.seconds = self._elapsed_s()
            state.sums, state.count = self._means.sums(), self._means.count
            content = state.to_json(self._identity)
            checkpoint.save(self._folder, self._task.module, self._optimiser, content)
        self._kept = time.monotonic()

    def _elapsed_s(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _agreed(self, asked: bool) -> bool:
        """Return whether any process was asked to stop."""
        if self._fabric.world_size == 1:
            return asked
        flag = torch.tensor(float(asked), device=self._fabric.device)
        return bool(torch.as_tensor(self._fabric.all_reduce(flag, reduce_op='sum')) > 0)
