"""DICOM is read by a child process: what breaks there is a typed error here."""

import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from broken_series import BROKEN
from ct_files import PATIENT_ID, PATIENT_NAME, Phantom, numbered_phantom, write_dicom, write_volume
from mutants import mutants
from reliability import record, repetitions
from xray_files import gradient, write_xa

from sph_reg_ros.errors import CTError, ErrorCode, ImageError, RegistrationError
from sph_reg_ros.imaging import load
from sph_reg_ros.imaging.ct import read as ct
from sph_reg_ros.imaging.sandbox import child_process
from sph_reg_ros.imaging.sandbox.child_process import GIBIBYTE, ChildError, Limits, run_child
from sph_reg_ros.imaging.xray import read as xray

PLENTY = Limits(3 * GIBIBYTE, 60, 300.0)
REFUSED_WITHIN_S = 10


def test_a_series_is_the_same_as_without_the_child(tmp_path):
    folder = write_dicom(tmp_path / 'ct', numbered_phantom())
    expected, found = ct.parse_ct(folder), load.load_ct(folder)
    np.testing.assert_array_equal(found.hounsfield, expected.hounsfield)
    np.testing.assert_array_equal(found.ct_from_index, expected.ct_from_index)
    for name in ('series_uid_hash', 'patient_hash', 'description', 'content_hash'):
        assert getattr(found, name) == getattr(expected, name)
    assert found.hounsfield.dtype == expected.hounsfield.dtype
    assert load.list_series(folder) == ct.parse_series(folder)


@pytest.mark.parametrize('geometry', [True, False])
def test_an_xray_is_the_same_as_without_the_child(tmp_path, geometry):
    path = write_xa(tmp_path / 'xray', np.stack([gradient(), gradient() + 5]))
    expected = xray.parse_xray(path, frame=1)
    found = load.load_xray(path, frame=1, geometry=geometry)
    assert (found.pixels == expected.pixels).all() and (found.mask == expected.mask).all()
    assert found.intensity == expected.intensity and found.patient_hash == expected.patient_hash
    if geometry:
        assert (found.camera.K == expected.camera.K).all() and found.warnings == expected.warnings
    else:
        assert found.camera is None
    assert (found.camera_from_ct == expected.camera_from_ct).all()


def test_an_xray_without_the_mark_of_dicom_is_read_by_a_child_as_well(tmp_path, monkeypatch):
    path = write_xa(tmp_path / 'xray', gradient())
    expected = xray.parse_xray(path)
    path.write_bytes(path.read_bytes()[132:])
    monkeypatch.setattr(xray, 'parse_xray', None)
    assert (load.load_xray(path).pixels == expected.pixels).all()


@pytest.mark.parametrize('name', ['ct.nii.gz', 'ct.nrrd', 'ct.mha'])
def test_a_volume_file_is_the_same_by_a_child(tmp_path, name):
    path = write_volume(tmp_path / name, numbered_phantom())
    expected, found = ct.parse_ct(path), load.load_ct(path)
    np.testing.assert_array_equal(found.hounsfield, expected.hounsfield)
    np.testing.assert_array_equal(found.ct_from_index, expected.ct_from_index)
    assert found.series_uid_hash == expected.series_uid_hash
    assert load.list_series(path) == []


def test_a_ct_that_turns_out_not_to_be_whole_numbers_is_the_same_by_a_child(tmp_path):
    phantom = numbered_phantom()
    real = phantom.hounsfield.astype(np.float32)
    real[3] += 0.25
    path = write_volume(tmp_path / 'ct.mha', Phantom(real, phantom.ct_from_index))
    found = load.load_ct(path)
    np.testing.assert_array_equal(found.hounsfield, real)
    np.testing.assert_array_equal(found.ct_from_index, ct.parse_ct(path).ct_from_index)


def test_a_volume_file_that_breaks_its_reader_is_a_typed_error(tmp_path, monkeypatch):
    path = write_volume(tmp_path / 'ct.nrrd', numbered_phantom())
    monkeypatch.setattr(load, 'GIBIBYTE', 1 << 20)  # not even enough for its imports
    with pytest.raises(CTError, match='crashed') as caught:
        load.load_ct(path)
    assert caught.value.code == ErrorCode.CT_UNREADABLE
    (tmp_path / 'ct.txt').write_text('what a reader would not know')
    monkeypatch.setattr(load, 'run_child', None)
    with pytest.raises(CTError, match=r'\.nii\.gz, \.nrrd'):
        load.load_ct(tmp_path / 'ct.txt')


@dataclass(frozen=True)
class Outcome:
    name: str
    code: ErrorCode | None
    message: str
    wall_s: float
    cpu_s: float  # of this process and its children: other work on the machine does not count


def outcome(name: str, folder: Path) -> Outcome:
    wall_s, cpu_s = time.monotonic(), processor_time()
    code, message = None, 'was loaded'
    try:
        load.load_ct(folder)
    except RegistrationError as error:
        code, message = error.code, str(error)
    return Outcome(name, code, message, time.monotonic() - wall_s, processor_time() - cpu_s)


def processor_time() -> float:
    """Return the seconds that this process has computed, and the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def test_every_broken_series_is_refused_with_its_typed_error(tmp_path):
    folders = {name: tmp_path / str(number) for number, name in enumerate(BROKEN)}
    for name, (write, _) in BROKEN.items():
        write(folders[name])
    before = written(tmp_path)
    # One after the other where it is measured: at once, each counts the children of the others.
    with ThreadPoolExecutor(repetitions(4, 1)) as pool:
        outcomes = list(pool.map(outcome, folders, folders.values()))
    wrong = [found for found in outcomes if found.code != BROKEN[found.name][1]]
    assert not wrong and len(outcomes) >= 30
    assert written(tmp_path) == before, 'reading wrote something'
    for found in outcomes:
        for secret in (PATIENT_ID, *PATIENT_NAME.split('^')):
            assert secret not in found.message
    slowest = max(outcomes, key=lambda found: found.cpu_s)
    assert slowest.cpu_s < REFUSED_WITHIN_S, slowest
    record('P15', figures_of(outcomes))


def figures_of(outcomes: list[Outcome]) -> str:
    wall_s, cpu_s = max(o.wall_s for o in outcomes), max(o.cpu_s for o in outcomes)
    largest_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return (
        f'{len(outcomes)} broken series, a typed error each; slowest {cpu_s:.1f} s of processor '
        f'time (limit {REFUSED_WITHIN_S} s), {wall_s:.1f} s on the clock; '
        f'largest child {largest_mb:.0f} MB'
    )


def written(folder: Path) -> set[Path]:
    return set(folder.rglob('*'))


def test_a_child_that_needs_too_much_memory_is_a_typed_error(tmp_path, monkeypatch):
    folder = write_dicom(tmp_path / 'ct', numbered_phantom())
    monkeypatch.setattr(load, 'GIBIBYTE', 1 << 24)  # not even enough for its imports
    with pytest.raises(CTError) as caught:
        load.load_ct(folder)
    assert caught.value.code == ErrorCode.CT_UNREADABLE and 'crashed' in str(caught.value)


def test_an_xray_whose_child_crashes_is_a_typed_error(tmp_path, monkeypatch):
    path = write_xa(tmp_path / 'xray', gradient())
    monkeypatch.setattr(load, 'GIBIBYTE', 1 << 20)
    with pytest.raises(ImageError, match='crashed') as caught:
        load.load_xray(path)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE


def test_a_folder_that_cannot_be_listed_is_a_typed_error(tmp_path):
    with pytest.raises(CTError, match='cannot be read') as caught:
        load.file_sizes(tmp_path / 'gone')
    assert caught.value.code == ErrorCode.CT_UNREADABLE


def test_a_system_without_files_in_memory_uses_one_on_disk(tmp_path, monkeypatch):
    folder = write_dicom(tmp_path / 'ct', numbered_phantom())
    monkeypatch.delattr(os, 'memfd_create', raising=False)
    assert load.load_ct(folder).content_hash == ct.parse_ct(folder).content_hash


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
        'import json, os, sys; from sph_reg_ros.imaging.sandbox.child import set_limits\n'
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
            ct.parse_ct(folder)
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
        ct.parse_ct(folder)


def test_mutants_of_an_xray_are_read_or_refused(tmp_path):
    path = write_xa(tmp_path / 'xray', gradient((12, 16)))
    count = repetitions(200, 25_000)
    for mutant in mutants(path.read_bytes(), count, seed=1):
        path.write_bytes(mutant)
        try:
            xray.parse_xray(path)
        except RegistrationError as error:
            assert 'Secret' not in str(error)
    record('P16 X-ray', f'{count} mutants, 0 crashes')


def test_a_damaged_xray_is_refused_by_name(tmp_path):
    path = write_xa(tmp_path / 'xray.dcm', gradient())
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r'xray\.dcm'):
        load.load_xray(path)
