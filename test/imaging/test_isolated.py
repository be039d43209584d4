"""DICOM is read by a child process: what breaks there is a typed error here."""

import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from broken_series import BROKEN
from ct_files import PATIENT_ID, PATIENT_NAME, numbered_phantom, write_dicom, write_volume
from mutants import mutants
from reliability import record, repetitions
from xray_files import gradient, write_xa

from sph_reg_ros.errors import CTError, ErrorCode, ImageError, RegistrationError
from sph_reg_ros.imaging import child_process, ct, isolated, isolated_xray, xray
from sph_reg_ros.imaging.child_process import GIBIBYTE, ChildError, Limits, run_child

PLENTY = Limits(3 * GIBIBYTE, 60, 300.0)
CHILD_CPU_LIMIT_S = 10


def test_a_series_is_the_same_as_without_the_child(tmp_path):
    folder = write_dicom(tmp_path / 'ct', numbered_phantom())
    expected, found = ct.load_ct(folder), isolated.load_ct(folder)
    np.testing.assert_array_equal(found.hounsfield, expected.hounsfield)
    np.testing.assert_array_equal(found.ct_from_index, expected.ct_from_index)
    for name in ('series_uid_hash', 'patient_hash', 'description', 'content_hash'):
        assert getattr(found, name) == getattr(expected, name)
    assert found.hounsfield.dtype == expected.hounsfield.dtype
    assert isolated.list_series(folder) == ct.list_series(folder)


@pytest.mark.parametrize('geometry', [True, False])
def test_an_xray_is_the_same_as_without_the_child(tmp_path, geometry):
    path = write_xa(tmp_path / 'xray', np.stack([gradient(), gradient() + 5]))
    expected = xray.load_xray(path, frame=1)
    found = isolated_xray.load_xray(path, frame=1, geometry=geometry)
    assert (found.pixels == expected.pixels).all() and (found.mask == expected.mask).all()
    assert found.intensity == expected.intensity and found.patient_hash == expected.patient_hash
    if geometry:
        assert (found.camera.K == expected.camera.K).all() and found.warnings == expected.warnings
        assert (found.camera_from_ct == expected.camera_from_ct).all()
    else:
        assert found.camera is None and found.camera_from_ct is None


def test_other_formats_are_read_without_a_child(tmp_path, monkeypatch):
    monkeypatch.setattr(isolated, 'run_child', None)
    path = write_volume(tmp_path / 'ct.nii.gz', numbered_phantom())
    assert isolated.load_ct(path).content_hash == ct.load_ct(path).content_hash
    assert isolated.list_series(path) == []


def outcome(name: str, folder: Path) -> tuple[str, ErrorCode | None, str, float]:
    start = time.monotonic()
    try:
        isolated.load_ct(folder)
    except RegistrationError as error:
        return name, error.code, str(error), time.monotonic() - start
    return name, None, 'was loaded', time.monotonic() - start


def test_every_broken_series_is_refused_with_its_typed_error(tmp_path):
    for number, (write, _) in enumerate(BROKEN.values()):
        write(tmp_path / str(number))
    before = written(tmp_path)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        folders = [tmp_path / str(number) for number in range(len(BROKEN))]
        outcomes = list(pool.map(outcome, BROKEN, folders))
    wrong = [found for found in outcomes if found[1] != BROKEN[found[0]][1]]
    assert not wrong and len(outcomes) >= 30
    assert written(tmp_path) == before, 'reading wrote something'
    for _, _, message, _ in outcomes:
        for secret in (PATIENT_ID, *PATIENT_NAME.split('^')):
            assert secret not in message
    largest_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    slowest_s = max(seconds for *_, seconds in outcomes)
    figures = f'slowest {slowest_s:.1f} s, largest child {largest_mb:.0f} MB'
    record('P15', f'{len(outcomes)} broken series, a typed error each; {figures}')


def written(folder: Path) -> set[Path]:
    return set(folder.rglob('*'))


def test_a_child_that_needs_too_much_memory_is_a_typed_error(tmp_path, monkeypatch):
    folder = write_dicom(tmp_path / 'ct', numbered_phantom())
    monkeypatch.setattr(isolated, 'GIBIBYTE', 1 << 24)  # not even enough for its imports
    with pytest.raises(CTError) as caught:
        isolated.load_ct(folder)
    assert caught.value.code == ErrorCode.CT_UNREADABLE and 'crashed' in str(caught.value)


def test_a_child_that_computes_for_ever_is_ended_by_its_limit(monkeypatch):
    with pytest.raises(ChildError, match='more than 1 s of processor time'):
        run_in_child(monkeypatch, 'while True: pass', Limits(3 * GIBIBYTE, 1, 300.0))


def test_a_child_that_waits_for_ever_is_ended_after_its_time(monkeypatch):
    with pytest.raises(ChildError, match='longer than 1 s'):
        run_in_child(monkeypatch, 'import time; time.sleep(600)', Limits(3 * GIBIBYTE, 60, 1.0))


@pytest.mark.parametrize('number', [4, 9, 11])
def test_a_child_that_is_killed_is_an_error(monkeypatch, number):
    with pytest.raises(ChildError, match=f'exit code -{number}'):
        run_in_child(monkeypatch, f'import os; os.kill(os.getpid(), {number})', PLENTY)


def run_in_child(monkeypatch, code: str, limits: Limits) -> None:
    """Run other code in the place of the reader, under the same limits."""
    sandboxed = (
        'import json, os, sys; from sph_reg_ros.imaging.child import set_limits\n'
        'request = json.loads(os.pread(int(sys.argv[1]), 10**6, 0))\n'
        f'set_limits(**request["limits"])\n{code}'
    )
    popen = child_process.subprocess.Popen

    def other(command, **options):
        return popen([command[0], '-c', sandboxed, *command[3:]], **options)

    monkeypatch.setattr(child_process.subprocess, 'Popen', other)
    run_child('load_ct', {}, limits)


REPORTS = [
    b'', b'{', b'[]', b'null', b'{"arrays": 3}', b'{"arrays": [["<f8", [9]]]}', b'[' * 5000,
    b'{"arrays": [["|O", [1]]]}', b'{"arrays": [["<f8", [-1]]]}', b'{"arrays": [["<f8", [1e9]]]}',
    b'{"error": 1}', b'{"error": ["SystemExit", 0, ""]}', b'{"error": ["CTError", 999, ""]}',
    b'{"error": ["__builtins__", 10, ""]}', b'x' * 2_000_000,
]  # fmt: skip


@pytest.mark.parametrize('report', REPORTS, ids=range(len(REPORTS)))
def test_a_child_that_was_taken_over_can_say_nothing_that_does_harm(monkeypatch, report):
    monkeypatch.setattr(child_process, '_run', lambda fds, limits: os.pwrite(fds[0], report, 0))
    monkeypatch.setattr(child_process.json, 'dumps', lambda request: '')
    with pytest.raises(ChildError):
        run_child('load_ct', {}, PLENTY)


def test_a_limit_stands_in_relation_to_the_files():
    small, large = Limits.for_input(10**6, 10, GIBIBYTE), Limits.for_input(10**9, 2000, GIBIBYTE)
    assert small.memory_bytes < 1.1 * GIBIBYTE < 10**9 * 5 < large.memory_bytes
    assert small.cpu_s < 12 and large.cpu_s > 400 and large.timeout_s > 5 * large.cpu_s


def test_mutants_of_a_series_are_read_or_refused(tmp_path):
    folder = write_dicom(tmp_path / 'ct', numbered_phantom((3, 4, 5)))
    victim = sorted(folder.iterdir())[1]
    count = repetitions(200, 25_000)
    for mutant in mutants(victim.read_bytes(), count, seed=0):
        victim.write_bytes(mutant)
        try:
            ct.load_ct(folder)
        except CTError as error:
            assert PATIENT_ID not in str(error)
    record('P16 CT', f'{count} mutants, 0 crashes')


def test_a_field_that_takes_in_the_patients_name_is_not_shown(tmp_path):
    """As a mutant had it: the UID's length reaches over the name."""
    folder = write_dicom(tmp_path / 'ct', numbered_phantom((3, 4, 5)))
    victim = sorted(folder.iterdir())[1]
    content = victim.read_bytes()
    at = content.index(b'\x08\x00\x3e\x10LO') + 6  # SeriesDescription; the name comes next
    victim.write_bytes(content[:at] + (48).to_bytes(2, 'little') + content[at + 2 :])
    with pytest.raises(CTError, match='1 of 3 DICOM files have a damaged header'):
        ct.load_ct(folder)


def test_mutants_of_an_xray_are_read_or_refused(tmp_path):
    path = write_xa(tmp_path / 'xray', gradient((12, 16)))
    count = repetitions(200, 25_000)
    for mutant in mutants(path.read_bytes(), count, seed=1):
        path.write_bytes(mutant)
        try:
            xray.load_xray(path)
        except RegistrationError as error:
            assert 'Secret' not in str(error)
    record('P16 X-ray', f'{count} mutants, 0 crashes')


def test_a_damaged_xray_is_refused_by_name(tmp_path):
    path = write_xa(tmp_path / 'xray.dcm', gradient())
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r'xray\.dcm'):
        isolated_xray.load_xray(path)
