"""Many bags: each fails alone, all are in one report."""

import json
import os
from dataclasses import dataclass, replace

import pytest
from bags import SETTINGS, changed, run

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.replay.bag_replay import ReplayJob
from sph_reg_ros.replay.batch import replay_all
from sph_reg_ros.replay.cluster import replay_on_cluster
from sph_reg_ros.replay.params_file import read_parameters

pytestmark = pytest.mark.slow


@pytest.fixture
def bags(bag, tmp_path):
    """Two bags that can be replayed, and between them one that was cut off."""
    paths = [changed(bag, tmp_path / name, one_image()) for name in ('first', 'cut', 'last')]
    file = next(paths[1].glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:2000])
    return paths


def one_image():
    seen = []

    def change(entry):
        if entry.topic == '/image':
            seen.append(entry)
        return entry.topic != '/image' or len(seen) == 1

    return change


def jobs_of(bags, ct, folder) -> list[ReplayJob]:
    given = [word for word in SETTINGS if ':=' in word]
    parameters = read_parameters(None, [*given, f'ct.path:={ct}'])
    return [ReplayJob(path, folder / path.name, parameters) for path in bags]


def test_bags_go_through_processes_and_merge_into_one_report(bags, ct, tmp_path):
    folder = tmp_path / 'out'
    done = run('replay', *bags, '--ct', ct, '--output', folder, '--jobs', 2, *SETTINGS)
    assert done.exit_code == 1, done.output
    assert 'cut: failed: ' in done.stdout and 'BAG_UNREADABLE' in done.stdout
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert [one['name'] for one in metrics['bags']] == ['first', 'cut', 'last']
    assert metrics['figures']['registered'] == 2 and metrics['figures']['failed_bags'] == 1
    html = (folder / 'report.html').read_text()
    assert html.count('src="data:image/jpeg') == 6 and 'cannot be read' in html
    csv = [(folder / name / 'poses.csv').read_text() for name in ('first', 'last')]
    assert csv[0] == csv[1]


@dataclass(frozen=True)
class UnknownToOthers(ReplayJob):
    """A job that no other process can read: it ends there."""


def test_a_process_that_dies_takes_no_other_bag_with_it(bags, ct, tmp_path):
    good, bad, _ = jobs_of(bags, ct, tmp_path / 'out')
    counts = []
    records = replay_all([UnknownToOthers(**vars(bad)), good], 2, lambda *done: counts.append(done))
    assert 'its process ended with 1' in records[0].failure
    assert records[1].failure == '' and len(records[1].rows) == 1
    assert counts == [(0, 2), (1, 2), (2, 2)]


@pytest.fixture
def ray_of_two_workers(monkeypatch):
    """Start Ray; one whose own processes do not come up within its 30 s says nothing about us."""
    ray = pytest.importorskip('ray')
    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:
        pytest.skip(f'Ray does not start on this machine: {error}')
    yield
    ray.shutdown()


def test_bags_go_through_a_local_ray_of_two_workers(bags, ct, tmp_path, ray_of_two_workers):
    todo = jobs_of(bags, ct, tmp_path / 'ray')
    found = replay_on_cluster(todo, 'local')
    assert ['BAG_UNREADABLE' in record.failure for record in found] == [False, True, False]
    here = replay_all([replace(todo[0], output=tmp_path / 'here')], 1)[0]
    assert found[0].rows[0].camera_from_ct == here.rows[0].camera_from_ct


def test_a_cluster_that_does_not_answer_is_an_error_with_its_address(
    bags, ct, tmp_path, monkeypatch
):
    pytest.importorskip('ray')
    monkeypatch.delenv('RAY_USAGE_STATS_ENABLED', raising=False)
    done = run(
        *('replay', bags[0], '--ct', ct, '--output', tmp_path / 'out'), '--ray', '127.0.0.1:1'
    )
    assert done.exit_code == 2 and 'no Ray cluster at 127.0.0.1:1' in done.stderr
    assert os.environ['RAY_USAGE_STATS_ENABLED'] == '0'
