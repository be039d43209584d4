"""The worker process and the client that keeps it: no ROS needed but for the phantom."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ros.harness import REPOSITORY, Scene, error_mm, moved

from sph_reg_ros.errors import CancelledError, CTError, ErrorCode, RegistrationError
from sph_reg_ros.registration.track import METHOD
from sph_reg_ros.registration.tracking_config import TrackingConfig
from sph_reg_ros.service.protocol import LoadCT, Register, Registered, RegisterView, StreamFrame
from sph_reg_ros.service.worker_client import MAX_RESTARTS, WorkerClient

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def worker(ct_path):
    client = WorkerClient()
    client.start()
    client.load_ct(LoadCT(str(ct_path), '', 60.0, backend='auto'))
    yield client
    client.stop()


def request(scene: Scene, **changes) -> Register:
    view = RegisterView(scene.xray(), scene.camera.K.numpy())
    start = moved(scene.camera_from_ct, 0.03, -0.02, 0.04, 4, -3, 6)
    return Register(**({'views': (view,), 'initial_camera_from_ct': start} | changes))


def test_a_phantom_is_found_with_progress_and_pictures(worker, scene):
    progress = []
    found = worker.register(request(scene, drr=True, overlay=True), 30, observer=progress.append)
    assert error_mm(found.camera_from_ct[0], scene.camera_from_ct, scene) < 1.0
    assert found.similarity_after > 0.99 > found.similarity_before
    assert len(progress) >= 3 and progress[0].loss > progress[-1].loss
    assert found.drr.shape == scene.camera.size and found.overlay.shape == (*scene.camera.size, 3)


def test_two_views_of_one_patient_are_registered_together(worker, scene):
    scenes = scene, scene.turned(1.2)
    views = tuple(RegisterView(s.xray(), s.camera.K.numpy(), s.fixed_from_imager) for s in scenes)
    found = worker.register(request(scene, views=views), 30)
    for pose, one in zip(found.camera_from_ct, scenes, strict=True):
        assert error_mm(pose, one.camera_from_ct, scene) < 0.6


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(worker, scene, value):
    pixels = scene.xray().astype(np.float32)
    pixels[5, 6] = value
    with pytest.raises(RegistrationError) as caught:
        worker.register(request(scene, views=(RegisterView(pixels, np.eye(3)),)), 30)
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


def test_an_empty_image_is_refused(worker, scene):
    view = RegisterView(np.full((96, 96), 7, np.uint16), scene.camera.K.numpy())
    with pytest.raises(RegistrationError) as caught:
        worker.register(request(scene, views=(view,)), 30)
    assert caught.value.code == ErrorCode.IMAGE_CONTENT


def test_a_ct_out_of_view_is_refused(worker, scene):
    away = moved(scene.camera_from_ct, 0, 0, 0, 0, 0, 0)
    away[:3, 3] += [3000, 0, 0]
    with pytest.raises(RegistrationError) as caught:
        worker.register(request(scene, initial_camera_from_ct=away), 30)
    assert caught.value.code == ErrorCode.NO_OVERLAP


def test_cancel_stops_a_running_registration_soon(worker, scene):
    started = threading.Event()
    with pytest.raises(CancelledError):
        worker.register(request(scene), 30, started.is_set, lambda progress: started.set())
    assert worker.alive


def test_cancel_during_the_checks_stops_the_registration_and_not_the_worker(worker, scene):
    pid, restarts, verifying = worker.pid, worker.restarts, threading.Event()

    def observe(progress):
        if progress.stage.startswith('verify'):
            verifying.set()

    with pytest.raises(CancelledError):
        worker.register(request(scene), 60, verifying.is_set, observe)
    assert verifying.is_set()
    assert worker.alive and worker.pid == pid
    assert worker.register(request(scene), 60).verdict == 1
    assert (worker.pid, worker.restarts) == (pid, restarts)


def test_xrays_of_a_stream_are_followed_and_checked_in_between(worker, scene):
    def followed(number: int) -> Registered:
        pose = moved(scene.camera_from_ct, 0.004 * number, 0, 0, 0.5 * number, 0, 0)
        seen = replace(scene, fixed_from_patient=scene.fixed_from_imager @ pose)
        stream = StreamFrame(1, number / 15, TrackingConfig(full_checks_every=2))
        views = (RegisterView(seen.xray(number), scene.camera.K.numpy()),)
        found = worker.register(request(scene, views=views, frame=stream), 60)
        assert error_mm(found.camera_from_ct[0], pose, scene) < 6.0
        return found

    found = [followed(number) for number in range(4)]
    assert [one.method == METHOD for one in found] == [False, True, True, True]
    number = 4
    # The checks of one of them are made while nothing is asked.
    while found[-1].frames_since_full_checks >= number - 1:
        time.sleep(0.2)
        found.append(followed(number))
        number += 1
        assert number < 60
    assert all(one.verdict == 1 for one in found)


def test_another_stream_begins_with_a_registration(worker, scene):
    for stream in (2, 3):
        found = worker.register(request(scene, frame=StreamFrame(stream, 0.0)), 60)
        assert found.method != METHOD and found.frames_since_full_checks == 0


def test_a_time_limit_stops_a_registration(worker, scene):
    with pytest.raises(RegistrationError) as caught:
        worker.register(request(scene), 0.01)
    assert caught.value.code == ErrorCode.TIMEOUT
    assert worker.alive


def test_a_bug_is_an_error_of_one_request_only(worker, scene):
    with pytest.raises(RegistrationError, match='internal error'):
        worker.register(request(scene, initial_camera_from_ct='nonsense'), 30)
    assert worker.register(request(scene), 30).verdict == 1


def kill(client: WorkerClient) -> None:
    os.kill(client.pid, signal.SIGKILL)
    while client.alive:
        time.sleep(0.01)


def test_a_killed_worker_is_noticed_and_comes_back_with_its_ct_but_not_for_ever(ct_path, scene):
    client = WorkerClient()
    client.start()
    loaded = client.load_ct(LoadCT(str(ct_path), '', 60.0))
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(RegistrationError) as caught:
        # Killed in the middle of a request, the next one finds it alive again.
        client.require_ready()
    assert caught.value.code == ErrorCode.WORKER_DIED
    assert client.register(request(scene), 30).ct_series_uid_hash == loaded.series_uid_hash
    client._restarts.extend([time.monotonic()] * (MAX_RESTARTS - 1))
    kill(client)
    with pytest.raises(RegistrationError, match='died 4 times'):
        client.register(request(scene), 30)
    client.stop()


@pytest.fixture
def own_worker():
    client = WorkerClient()
    client.start()
    yield client
    client.stop()


def test_another_ct_where_the_first_was_is_not_taken_for_it_after_a_crash(
    own_worker, ct_path, scene, tmp_path
):
    path = tmp_path / 'ct.nii.gz'
    shutil.copy(ct_path, path)
    own_worker.load_ct(LoadCT(str(path), '', 60.0))
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(ct_path)) + 1, str(path))
    kill(own_worker)
    with pytest.raises(CTError, match='there is another one now'):
        own_worker.register(request(scene), 30)
    with pytest.raises(CTError) as caught:
        own_worker.register(request(scene), 30)
    assert caught.value.code == ErrorCode.CT_NOT_LOADED


def test_a_reply_that_nobody_took_is_not_taken_for_the_next_one(own_worker, ct_path, scene):
    def broken(progress):
        raise ValueError('a bug')

    own_worker.load_ct(LoadCT(str(ct_path), '', 60.0))
    with pytest.raises(ValueError, match='a bug'):
        own_worker.register(request(scene), 30, observer=broken)
    found = own_worker.register(request(scene.turned(0.4)), 30)
    assert error_mm(found.camera_from_ct[0], scene.turned(0.4).camera_from_ct, scene) < 1.0


def test_who_waits_for_another_registration_can_be_cancelled(worker, scene):
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        other = threading.Thread(target=worker.register, args=(request(scene), 60))
        other.start()
        while not worker._lock.locked():
            time.sleep(0.01)
        with pytest.raises(CancelledError):
            worker.register(request(scene), 60, lambda: True)
        assert other.is_alive()
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    other.join()


def test_a_load_that_fails_leaves_the_ct_before_also_for_the_worker_after_a_crash(
    own_worker, ct_path, scene, tmp_path
):
    told = []
    loaded = own_worker.load_ct(LoadCT(str(ct_path), '', 60.0), told.append)
    with pytest.raises(RegistrationError) as caught:
        own_worker.load_ct(LoadCT(str(tmp_path / 'missing.nii'), '', 60.0), told.append)
    assert caught.value.code == ErrorCode.CT_UNREADABLE
    assert told == [loaded]
    assert own_worker.register(request(scene), 30).ct_series_uid_hash == loaded.series_uid_hash
    kill(own_worker)
    with pytest.raises(RegistrationError):
        own_worker.load_ct(LoadCT(str(tmp_path / 'missing.nii'), '', 60.0), told.append)
    assert own_worker.register(request(scene), 30).ct_series_uid_hash == loaded.series_uid_hash


def test_a_first_load_that_fails_leaves_no_ct(own_worker, scene, tmp_path):
    with pytest.raises(RegistrationError):
        own_worker.load_ct(LoadCT(str(tmp_path / 'missing.nii'), '', 60.0))
    with pytest.raises(RegistrationError) as caught:
        own_worker.register(request(scene), 30)
    assert caught.value.code == ErrorCode.CT_NOT_LOADED


def hidden(folder: Path, package: str, error: str) -> Path:
    """Return a folder from which a package is imported that cannot be."""
    (folder / package).mkdir()
    (folder / package / '__init__.py').write_text(f'raise {error}\n')
    return folder


@pytest.mark.parametrize(
    ('package', 'error', 'said'),
    [
        ('torch', "ModuleNotFoundError('No', name='torch')", 'package torch is missing'),
        ('numba', "ModuleNotFoundError('No', name='numba.core')", 'pip install numba'),
        ('numba', "ImportError('Numba needs NumPy 1.22')", 'Numba needs NumPy 1.22'),
        ('torch', "OSError('libcudart.so: not found')", 'libcudart.so: not found'),
    ],
)
def test_a_worker_without_its_packages_says_which_and_goes_on_saying_so(
    package, error, said, tmp_path, monkeypatch, capfd
):
    monkeypatch.syspath_prepend(hidden(tmp_path, package, error))
    client = WorkerClient()
    client.start()
    pid = client.pid
    for _ in range(2):
        with pytest.raises(RegistrationError, match=said) as caught:
            client.require_ready()
        assert caught.value.code == ErrorCode.DEPENDENCY_MISSING
    assert client.pid == pid and client.restarts == 0
    client.stop()
    assert 'Traceback' not in capfd.readouterr().err


@pytest.mark.parametrize('script', ['registration', 'carm_simulator', 'sph-reg'])
def test_a_program_without_its_packages_says_which_in_one_line(script, tmp_path):
    missing = hidden(tmp_path, 'numpy', "ModuleNotFoundError('No', name='numpy')")
    hidden(tmp_path, 'typer', "ModuleNotFoundError('No', name='typer')")
    paths = [str(missing), str(REPOSITORY), os.environ.get('PYTHONPATH', '')]
    ended = subprocess.run(
        [sys.executable, str(REPOSITORY / 'scripts' / script)],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert re.search(r'package (numpy|typer) is missing: .* -m pip install \1', line)


def test_stopping_interrupts_a_call_that_waits(scene):
    client = WorkerClient()
    client.start()
    stopper = threading.Timer(0.2, client.stop)
    stopper.start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        client.require_ready()  # torch takes longer to import than this
    assert time.monotonic() - start < 1.5
    stopper.join()
    assert not client.alive


def test_a_worker_does_not_outlive_the_process_that_started_it():
    code = (
        'import time; from sph_reg_ros.service.worker_client import WorkerClient\n'
        'client = WorkerClient(); client.start(); print(client.pid, flush=True); time.sleep(60)'
    )
    environment = os.environ | {'PYTHONPATH': str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, '-c', code], stdout=-1, text=True, env=environment)
    pid = int(parent.stdout.readline())
    time.sleep(1.0)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0]
    except FileNotFoundError:
        return False
    return state != 'Z'  # dead, and nobody has asked after it


def test_the_worker_imports_no_ros_and_the_client_no_ros():
    code = (
        'import sys, sph_reg_ros.service.worker, sph_reg_ros.service.session, '
        'sph_reg_ros.service.worker_client\n'
        'assert not {"rclpy", "sensor_msgs", "geometry_msgs"} & set(sys.modules)'
    )
    environment = os.environ | {'PYTHONPATH': str(REPOSITORY)}
    subprocess.run([sys.executable, '-c', code], check=True, env=environment)
