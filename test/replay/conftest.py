"""A small CT, a bag of it, and its replay, made once."""

import pytest
from bags import SETTINGS, replayed, simulated
from cli_files import body
from ct_files import write_volume


@pytest.fixture(scope='session')
def ct(tmp_path_factory):
    return write_volume(tmp_path_factory.mktemp('ct') / 'ct.nii.gz', body())


@pytest.fixture(scope='session')
def bag(tmp_path_factory, ct):
    return simulated(ct, tmp_path_factory.mktemp('bags') / 'run')


@pytest.fixture(scope='session')
def replay_folder(tmp_path_factory, ct, bag):
    """What `sph-reg replay` wrote, asked for the truth on a topic."""
    folder = tmp_path_factory.mktemp('replayed') / 'out'
    done = replayed(bag, ct, folder, '--truth', 'ground_truth', *SETTINGS)
    assert done.exit_code == 0, done.output
    (folder / 'printed.txt').write_text(done.stdout)
    return folder
