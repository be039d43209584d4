"""sph-reg replay: a bag in; poses, messages and a report out."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bags import IMAGES, SETTINGS, changed, messages_of, replayed, run, write_old_bag
from reliability import record, repetitions

pytest.importorskip('diffdrr.renderers')

import yaml

from sph_reg_ros.errors import ErrorCode, RuntimeUnavailableError
from sph_reg_ros.messages.conversions import nanoseconds
from sph_reg_ros.replay import recording
from sph_reg_ros.replay.bag_replay import ReplayJob, replay
from sph_reg_ros.replay.params_file import read_parameters
from sph_reg_ros.replay.pose_files import tum_text
from sph_reg_ros.replay.record import record_from_json

LARGEST_IN_PLANE_MM = 3.0  # a third of a pixel of the small detector, and the phantom is round


def rows(folder) -> list[dict]:
    with (folder / 'poses.csv').open() as file:
        return list(csv.DictReader(file))


def job(bag, ct, output, **changes) -> ReplayJob:
    given = [word for word in SETTINGS if ':=' in word]
    parameters = read_parameters(None, [*given, f'ct.path:={ct}'])
    return ReplayJob(bag, output, parameters, **{'truth': 'ground_truth', **changes})


def test_every_image_gets_a_pose_near_the_truth_and_nearer_than_the_start(replay_folder):
    found = rows(replay_folder)
    assert len(found) == IMAGES
    in_plane = [float(row['in_plane_mm']) for row in found]
    assert np.median(in_plane) < LARGEST_IN_PLANE_MM
    starts = [float(row['start_mtre_mm']) for row in found]
    assert np.median([float(row['mtre_mm']) for row in found]) < np.median(starts)


def test_the_same_bag_and_seed_give_the_same_csv_whatever_the_storage(
    replay_folder, bag, ct, tmp_path
):
    copy = changed(bag, tmp_path / 'copy', lambda entry: None, storage='sqlite3')
    first, times = (replay_folder / 'poses.csv').read_bytes(), repetitions(1, 5)
    for number in range(times):
        replay(job(copy, ct, tmp_path / str(number)))
        assert (tmp_path / str(number) / 'poses.csv').read_bytes() == first
    record('P27', f'{1 + times} replays on the CPU, {IMAGES} rows each: the same bytes')


def test_a_bag_of_an_old_ros_without_message_definitions_gives_the_same(
    replay_folder, bag, ct, tmp_path
):
    replay(job(write_old_bag(bag, tmp_path / 'old'), ct, tmp_path / 'out'))
    assert (tmp_path / 'out/poses.csv').read_bytes() == (replay_folder / 'poses.csv').read_bytes()


def test_the_new_bag_holds_result_and_status_of_every_image(replay_folder, bag):
    path = replay_folder / 'bag'
    stamps = [nanoseconds(m.header.stamp) for m in messages_of(bag, '/image')]
    results = messages_of(path, '/registration/result')
    assert [nanoseconds(m.header.stamp) for m in results] == stamps
    status = messages_of(path, '/registration/status')
    assert [nanoseconds(m.result_stamp) for m in status] == stamps
    assert (status[-1].images_received, status[-1].images_registered) == (IMAGES, IMAGES)
    for row, result in zip(rows(replay_folder), results, strict=True):
        position = result.pose.pose.position
        found = [float(row[name]) for name in ('x_m', 'y_m', 'z_m')]
        assert found == pytest.approx([position.x, position.y, position.z])


def test_the_poses_of_a_replay_may_be_the_truth_of_another(replay_folder, bag, ct, tmp_path):
    before = record_from_json((replay_folder / 'record.json').read_text())
    trusted = [replace(row, verdict='VERIFIED') for row in before.rows]
    (tmp_path / 'poses.tum').write_text(tum_text(trusted))
    again = replay(job(bag, ct, tmp_path / 'out', truth=str(tmp_path / 'poses.tum')))
    assert [row.error.mtre_mm for row in again.rows] == pytest.approx([0] * IMAGES, abs=1e-4)


def test_metrics_settings_and_versions_are_written(replay_folder):
    metrics = json.loads((replay_folder / 'metrics.json').read_text())
    assert metrics['figures']['images'] == IMAGES
    assert metrics['figures']['any_mtre_mm.median'] > 0
    assert metrics['versions']['sph_reg_ros']
    settings = yaml.safe_load((replay_folder / 'config.yaml').read_text())
    chosen = settings['/**/registration']['ros__parameters']
    assert chosen['registration']['levels'] == [24, 48]
    assert read_parameters(replay_folder / 'config.yaml').registration.config.similarity == 'ncc'


def test_the_record_survives_its_own_file(replay_folder):
    text = (replay_folder / 'record.json').read_text()
    assert record_from_json(text).to_json() == text


def test_the_report_shows_every_image_and_needs_nothing_else(replay_folder):
    html = (replay_folder / 'report.html').read_text()
    assert html.count('src="data:image/jpeg;base64,') == 3 * IMAGES
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert 'http' not in re.sub(r'base64,[\w+/=]+', '', html)
    assert html.count('<svg') >= 3 and 'convergence' in html


def test_the_report_does_not_tell_where_the_ct_lies(replay_folder, ct):
    assert str(ct.parent) not in (replay_folder / 'report.html').read_text()
    assert str(ct) in (replay_folder / 'config.yaml').read_text()


def test_the_table_has_a_line_an_image_and_a_summary(replay_folder):
    printed = (replay_folder / 'printed.txt').read_text()
    assert re.search(rf'\d of {IMAGES} images verified', printed)
    assert len([line for line in printed.splitlines() if re.match(r' +\d+  (RAO|LAO)', line)]) == 3


def test_a_missed_limit_changes_the_exit_code_and_a_kept_one_does_not(
    replay_folder, bag, ct, tmp_path
):
    limits = ['--limit', 'images>=3', '--limit', 'any_mtre_mm.median<=0.0001']
    done = replayed(bag, ct, tmp_path, '--truth', 'ground_truth', *SETTINGS, *limits)
    assert done.exit_code == 1
    assert 'limit images>=3: met' in done.stdout
    assert 'limit any_mtre_mm.median<=0.0001: MISSED' in done.stdout
    assert 'MISSED' in (tmp_path / 'report.html').read_text()


def test_a_replay_of_which_every_image_was_refused_does_not_end_with_0(bag, ct, tmp_path):
    def spoil(entry):
        if entry.topic == '/image':
            entry.message.encoding = 'yuv422'

    path = changed(bag, tmp_path / 'bag', spoil)
    done = replayed(path, ct, tmp_path / 'out', *SETTINGS)
    assert done.exit_code == 1
    assert 'no image could be registered: IMAGE_ENCODING' in done.stdout
    assert (tmp_path / 'out/metrics.json').exists()


def test_without_truth_there_are_poses_but_no_errors(bag, ct, tmp_path):
    rows_found = replay(job(bag, ct, tmp_path, truth='')).rows
    assert all(row.camera_from_ct and row.error is None for row in rows_found)


def test_a_folder_with_a_replay_is_not_overwritten(replay_folder, bag, ct):
    done = replayed(bag, ct, replay_folder, *SETTINGS)
    assert done.exit_code == 2 and 'holds a replay already' in done.stderr


def test_the_folder_of_many_bags_is_not_overwritten_and_nothing_is_replayed(
    replay_folder, bag, ct, tmp_path
):
    (tmp_path / 'metrics.json').write_text('good')
    done = run('replay', bag, bag, '--ct', ct, '--output', tmp_path, *SETTINGS)
    assert done.exit_code == 2 and 'holds a replay already' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['metrics.json']
    (tmp_path / 'more').mkdir()
    (tmp_path / 'more/run_2').symlink_to(replay_folder)
    done = run('replay', bag, bag, '--ct', ct, '--output', tmp_path / 'more', *SETTINGS)
    assert done.exit_code == 2 and 'holds a replay already' in done.stderr
    assert [path.name for path in (tmp_path / 'more').iterdir()] == ['run_2']


def test_a_recording_that_fails_leaves_table_and_report(bag, ct, tmp_path, monkeypatch):
    def fails(record, job):
        raise RuntimeUnavailableError(ErrorCode.BACKEND_UNAVAILABLE, 'no space left')

    monkeypatch.setattr(recording, 'rerun_module', lambda: None)
    monkeypatch.setattr(recording, 'write_recording', fails)
    done = replayed(bag, ct, tmp_path, '--rerun', *SETTINGS)
    assert done.exit_code == 2 and 'no space left' in done.stderr
    assert f'of {IMAGES} images verified' in done.stdout
    assert (tmp_path / 'metrics.json').exists() and (tmp_path / 'report.html').exists()


def test_the_path_of_the_ct_is_taken_to_the_letter(bag, ct, tmp_path):
    other = Path(shutil.copy(ct, tmp_path / 'ct.nii.gz'))
    done = replayed(bag, f'{other} #2', tmp_path / 'out', *SETTINGS)
    assert done.exit_code == 2 and 'CT_UNREADABLE' in done.stderr


@pytest.mark.parametrize('frame', ['carm_optical', 'elsewhere'])
def test_a_truth_that_is_of_no_image_ends_before_any_work(bag, ct, tmp_path, frame):
    def spoil(entry):
        if entry.topic == '/ground_truth':
            entry.message.header.frame_id = frame
            entry.message.header.stamp.sec += 3600 if frame == 'carm_optical' else 0

    path = changed(bag, tmp_path / 'bag', spoil)
    done = replayed(path, ct, tmp_path / 'out', '--truth', 'ground_truth', *SETTINGS)
    assert done.exit_code == 2 and 'no image has a pose' in done.stderr
    assert not (tmp_path / 'out').exists()


def test_what_is_written_is_for_its_owner_only(replay_folder):
    for path in replay_folder.iterdir():
        if path.name not in ('printed.txt', 'pictures'):
            assert path.stat().st_mode & 0o077 == 0, path.name
