"""The loop itself, on networks that learn next to nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from cli_files import body
from ct_files import write_volume
from training_jobs import KINDS, ci_content, small_ct, small_job

from sph_reg_ros.errors import ConfigError, ErrorCode, SolverError
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.networks import weights
from sph_reg_ros.settings import from_plain
from sph_reg_ros.training import history
from sph_reg_ros.training.config import TrainingConfig
from sph_reg_ros.training.devices import launched
from sph_reg_ros.training.held_out import HeldOut
from sph_reg_ros.training.job import TrainingJob
from sph_reg_ros.training.loop import WEIGHTS_FOLDER, Training
from sph_reg_ros.training.optimiser import MOST_BAD_STEPS
from sph_reg_ros.training.run_config import Run
from sph_reg_ros.training.task import LOSS

CPU = Run(accelerator='cpu', network_threads=1)
SHORT = {'images': 40, 'batch': 2, 'log_steps': 3, 'validation_steps': 8, 'validation_images': 4}
DEADLINE_S = 300.0


def train(job: TrainingJob, folder: Path, observer=lambda progress: None, resume: bool = False):
    return Training(launched(CPU), job, folder, observer, resume).run()


def curve(folder: Path) -> dict[int, float]:
    """Return the loss by step."""
    return {entry['step']: entry[LOSS] for entry in history.read(folder) if LOSS in entry}


def stop_at(step: int):
    def observer(progress) -> None:
        if progress.step >= step:
            os.kill(os.getpid(), signal.SIGINT)

    return observer


@pytest.mark.parametrize('kind', KINDS)
def test_a_training_ends_with_weights_that_can_be_used(kind, tmp_path):
    job = small_job(kind, **SHORT)
    trained = train(job, tmp_path)
    assert trained.is_complete and trained.steps == 20
    network, card = weights.load(tmp_path / WEIGHTS_FOLDER)
    assert (card.kind, card.ct_hashes) == (kind, (job.cts[0].content_hash,))
    assert card.accuracy == trained.accuracy and len(card.accuracy) == 4
    assert card.training['step'] == 20 and card.training['seed'] == 0
    assert card.training[kind]['schedule']['images'] == 40
    assert card.training['software']['torch'] == torch.__version__
    assert card.image_size == (32, 32) and card.K[0][0] == pytest.approx(1020 / (300 / 32))
    assert card.data_hash == job.data_hash
    image = torch.randn(1, 1, 32, 32)
    assert all(torch.isfinite(value).all() for value in network(image))


@pytest.mark.parametrize('kind', KINDS)
def test_a_training_that_was_stopped_and_goes_on_has_the_same_curve_as_one_that_was_not(
    kind, tmp_path
):
    job = small_job(kind, **SHORT)
    train(job, tmp_path / 'whole')
    # Not at a step that is logged: sums of losses are kept too.
    stopped = train(job, tmp_path / 'parts', stop_at(6))
    assert not stopped.is_complete and 6 <= stopped.step < 20
    again = train(job, tmp_path / 'parts', stop_at(12), resume=True)
    assert stopped.step < again.step < 20
    assert train(job, tmp_path / 'parts', resume=True).is_complete
    assert curve(tmp_path / 'parts') == curve(tmp_path / 'whole')
    assert list(curve(tmp_path / 'whole')) == [3, 6, 9, 12, 15, 18]
    first, second = (weights.load(tmp_path / name / WEIGHTS_FOLDER) for name in ('whole', 'parts'))
    for (name, value), other in zip(
        first[0].state_dict().items(), second[0].state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name
    assert first[1].accuracy == second[1].accuracy


def test_the_curve_is_the_same_whether_batches_are_made_ahead_or_not(tmp_path):
    content = ci_content(**SHORT)
    for name, overlap in (('one', False), ('two', True)):
        content['run']['overlap'] = overlap
        train(
            TrainingJob('regressor', (small_ct(),), from_plain(TrainingConfig, content)),
            tmp_path / name,
        )
    assert curve(tmp_path / 'one') == curve(tmp_path / 'two')


def test_a_training_learns(tmp_path):
    """Poses of one view that varies in nothing but where the CT lies."""
    content = ci_content(**SHORT | {'images': 1200, 'batch': 8, 'log_steps': 15})
    content['poses'] |= {'primary_deg': [0.0, 0.0], 'secondary_deg': [0.0, 0.0]}
    content['randomisation'] = {
        name: 0.0 for name in vars(from_plain(TrainingConfig, {}).randomisation)
    }
    content['regressor']['schedule']['learning_rate'] = 0.003
    train(TrainingJob('regressor', (small_ct(),), from_plain(TrainingConfig, content)), tmp_path)
    losses = list(curve(tmp_path).values())
    assert losses[-1] < 0.7 * losses[0]


def test_progress_tells_speed_time_left_and_where_the_time_goes(tmp_path):
    seen = []
    train(small_job('similarity', **SHORT), tmp_path, seen.append)
    assert [progress.step for progress in seen] == [3, 6, 9, 12, 15, 18]
    for progress in seen:
        assert progress.steps == 20 and progress.images_per_s > 0
        left = (20 - progress.step) * 2 / progress.images_per_s
        assert progress.seconds_left == pytest.approx(left, rel=1e-6)
        assert {'rendering', 'randomising', 'network', 'waiting'} == set(progress.seconds_a_step)
        assert progress.loss == progress.losses[LOSS] > 0
    assert not seen[0].accuracy and 'correlation' in seen[-1].accuracy


def test_tensorboard_can_read_the_log(tmp_path):
    accumulators = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    job = small_job('regressor', **SHORT)
    train(job, tmp_path, stop_at(9))
    train(job, tmp_path, resume=True)
    log = accumulators.EventAccumulator(str(tmp_path / history.FOLDER))
    log.Reload()
    values = {event.step: event.value for event in log.Scalars(LOSS)}
    assert values == pytest.approx(curve(tmp_path), rel=1e-6)
    assert {'median_mtre_mm', 'images_per_s', 'learning_rate'} <= set(log.Tags()['scalars'])


@pytest.mark.gpu
@pytest.mark.parametrize('kind', KINDS)
def test_a_gpu_renders_and_learns(kind, tmp_path):
    job, gpu = small_job(kind, **SHORT), Run(accelerator='cuda')
    stopped = Training(launched(gpu), job, tmp_path, stop_at(6)).run()
    assert not stopped.is_complete
    seen = []
    assert Training(launched(gpu), job, tmp_path, seen.append, resume=True).run().is_complete
    assert {'rendering', 'randomising', 'network'} <= set(seen[-1].seconds_a_step)
    assert all(loss == loss for loss in curve(tmp_path).values())
    network, _ = weights.load(tmp_path / WEIGHTS_FOLDER)
    assert all(torch.isfinite(value).all() for value in network(torch.randn(1, 1, 32, 32)))


def test_held_out_images_are_made_once_and_seen_without_dropout():
    task = small_job('regressor', cts=2, **SHORT).task('cpu')
    held_out = HeldOut(task, 0)
    task.network.train()
    first, again = held_out.measure(), held_out.measure()
    assert first == again and task.network.training


def test_a_folder_that_has_a_training_is_not_overwritten(tmp_path):
    train(small_job('regressor', **SHORT), tmp_path)
    with pytest.raises(ConfigError, match='--resume'):
        train(small_job('regressor', **SHORT), tmp_path)
    with pytest.raises(ConfigError, match='schedule.images'):
        train(small_job('regressor', **SHORT | {'images': 60}), tmp_path, resume=True)
    with pytest.raises(ConfigError, match='kind'):
        train(small_job('similarity', **SHORT), tmp_path, resume=True)
    assert train(small_job('regressor', **SHORT), tmp_path, resume=True).is_complete


def test_a_step_without_a_finite_gradient_is_left_out_and_too_many_end_the_training(
    tmp_path, monkeypatch
):
    job = small_job('regressor', **SHORT | {'images': 80})
    task = job.task('cpu')
    make = type(task).batch
    bad = {4, 5}

    def batch(self, count, seed_key, wait=False):
        made = make(self, count, seed_key, wait)
        return made._replace(images=made.images * torch.nan) if seed_key[-1] in bad else made

    monkeypatch.setattr(type(task), 'batch', batch)
    assert train(job, tmp_path / 'few').is_complete
    assert all(loss == loss for loss in curve(tmp_path / 'few').values())
    bad.update(range(10, 10 + MOST_BAD_STEPS))
    with pytest.raises(SolverError, match='step 11') as error:
        train(job, tmp_path / 'many')
    assert error.value.code == ErrorCode.NUMERICAL


def started(folder: Path, **run) -> tuple[subprocess.Popen, Path, Path]:
    """Start `sph-reg train regressor` in a process of its own."""
    folder.mkdir(exist_ok=True)
    content = ci_content(**SHORT | {'images': 160, 'checkpoint_s': 0.05})
    content['run'] |= run
    config, ct = folder / 'config.yaml', folder / 'ct.nii.gz'
    config.write_text(yaml.safe_dump(content))
    write_volume(ct, body())
    command = [sys.executable, '-m', 'sph_reg_ros.cli', 'train', 'regressor', '--ct', str(ct)]
    command += ['--config', str(config), '--output', str(folder / 'out')]
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'NUMBA_NUM_THREADS': '1'}
    cwd = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True
    )
    return process, config, ct


def wait_for_entries(process: subprocess.Popen, folder: Path, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while len(curve(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_curve(tmp_path):
    process, config, ct = started(tmp_path)
    wait_for_entries(process, tmp_path / 'out', 6)
    process.kill()
    process.communicate()
    assert 6 <= len(curve(tmp_path / 'out')) < 26
    assert (tmp_path / 'out' / 'checkpoint.safetensors').is_file()
    job = TrainingJob(
        'regressor', (load_ct(ct),), from_plain(TrainingConfig, yaml.safe_load(config.read_text()))
    )
    assert train(job, tmp_path / 'out', resume=True).is_complete
    train(job, tmp_path / 'whole')
    assert curve(tmp_path / 'out') == curve(tmp_path / 'whole')
    assert len(curve(tmp_path / 'whole')) == 26


@pytest.mark.slow
def test_two_processes_share_the_work_and_stop_together_at_ctrl_c(tmp_path):
    process, _, _ = started(tmp_path, devices=2)
    wait_for_entries(process, tmp_path / 'out', 4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, err
    # 160 images are 40 steps of 2 x 2.
    assert 'of 40: --resume goes on' in out and 'Traceback' not in err
    assert (tmp_path / 'out' / 'checkpoint.safetensors').is_file()
