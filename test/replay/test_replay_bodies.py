"""sph-reg replay --bodies: each body in rows, tables, files and the report."""

import json

import numpy as np
import pytest
from bags import SETTINGS, messages_of, replayed, simulated
from body_files import write_bodies
from ct_files import Phantom, write_volume

from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.messages.conversions import matrix_from_pose
from sph_reg_ros.replay.record import record_from_json
from sph_reg_ros.replay.result_bag import RESULT

pytest.importorskip('diffdrr.renderers')


@pytest.fixture(scope='module')
def folder(ct, tmp_path_factory):
    """Return the folder of a replay in which the bone moves for itself."""
    folder = tmp_path_factory.mktemp('bodies')
    volume = load_ct(ct)
    bone = (volume.hounsfield > 300).astype(np.int16)
    bone[:, :, : bone.shape[2] // 2] = 0
    write_volume(folder / 'bone.nii.gz', Phantom(bone, volume.ct_from_index))
    prior = {'translation_mm': 3.0, 'rotation_deg': 3.0}
    entry = {'name': 'bone', 'source': 'bone.nii.gz', 'prior': prior}
    bodies = write_bodies(folder, entry)
    bag = simulated(ct, folder / 'bag', '--bodies', bodies)
    options = ['--truth', 'ground_truth', '--bodies', bodies, *SETTINGS]
    done = replayed(bag, ct, folder / 'out', *options)
    assert done.exit_code in (0, 1), done.output
    (folder / 'printed.txt').write_text(done.stdout)
    return folder


def test_the_record_compares_each_body_with_its_truth(folder):
    record = record_from_json((folder / 'out/record.json').read_text())
    truths = messages_of(folder / 'bag', '/ground_truth/bone')
    assert len(record.rows) == len(truths) == 3
    for row, truth in zip(record.rows, truths, strict=True):
        (body,) = row.bodies
        assert body.name == 'bone' and body.verdict in ('VERIFIED', 'UNVERIFIED', 'REJECTED')
        off_mm = np.linalg.norm(
            np.array(body.camera_from_body)[:2, 3] - matrix_from_pose(truth.pose)[:2, 3]
        )
        # Of the origin of the coordinates, not of the points that the error is a mean of.
        assert body.error is not None and body.error.in_plane_mm < off_mm + 20
        assert bool(body.reason) != body.is_verified
    assert record_from_json(record.to_json()) == record or np.isnan(record.rows[0].bound_mm)


def test_every_output_names_the_body(folder):
    printed = (folder / 'printed.txt').read_text()
    assert sum('bone' in line and 'moved' in line for line in printed.splitlines()) == 3
    lines = (folder / 'out/bodies.csv').read_text().splitlines()
    assert len(lines) == 4 and lines[0].startswith('number,stamp_ns,frame_id,body,verdict')
    assert 'bone' in lines[1]
    page = (folder / 'out/report.html').read_text()
    assert page.count('<td class="left">bone</td>') == 3
    results = messages_of(folder / 'out/bag', RESULT)
    assert [result.bodies[0].child_frame_id for result in results] == ['patient/bone'] * 3
    metrics = json.loads((folder / 'out/metrics.json').read_text())
    assert str(folder) not in json.dumps(metrics) and str(folder) not in page


def test_verified_bodies_have_a_frame_in_the_new_bag(folder):
    results = messages_of(folder / 'out/bag', RESULT)
    expected = [
        frame
        for result in results
        for frame, verdict in (
            ('patient', result.verdict),
            ('patient_ras', result.verdict),
            ('patient/bone', result.bodies[0].verdict),
        )
        if verdict == result.VERIFIED
    ]
    sent = [t.child_frame_id for m in messages_of(folder / 'out/bag', '/tf') for t in m.transforms]
    assert sent == expected
