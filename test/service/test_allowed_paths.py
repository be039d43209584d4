"""Which paths the node may be told to read."""

import pytest

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.service.allowed_paths import AllowedPaths


def refused(paths: AllowedPaths, path: str) -> bool:
    with pytest.raises(ConfigError) as caught:
        paths.require(path)
    assert path not in str(caught.value) or path in ('', '..')
    return caught.value.code == ErrorCode.PATH_NOT_ALLOWED


def test_what_lies_below_an_allowed_folder_may_be_read_and_links_are_resolved(tmp_path):
    (tmp_path / 'ct').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'ct')
    paths = AllowedPaths([str(tmp_path)], [])
    assert paths.require(str(tmp_path / 'link')) == str((tmp_path / 'ct').resolve())
    assert paths.require(str(tmp_path / 'not there'))


@pytest.mark.parametrize(
    'path', ['/etc/passwd', '{0}x/ct', '{0}/../ct', 'ct', '', '..', 'http://x/{0}', '{0}/a\0b', '~']
)
def test_everything_else_is_refused_without_saying_whether_it_exists(tmp_path, path):
    assert refused(AllowedPaths([str(tmp_path / 'data')], []), path.format(tmp_path / 'data'))


def test_a_link_that_leads_out_is_refused_and_so_is_a_loop(tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'out').symlink_to('/etc')
    (tmp_path / 'data' / 'loop').symlink_to(tmp_path / 'data' / 'loop')
    paths = AllowedPaths([str(tmp_path / 'data')], [])
    assert refused(paths, str(tmp_path / 'data' / 'out' / 'passwd'))
    assert refused(paths, str(tmp_path / 'data' / 'loop' / 'x'))


def test_a_folder_with_a_link_that_leads_out_is_refused(tmp_path):
    folder = tmp_path / 'data' / 'series'
    (folder / 'below').mkdir(parents=True)
    (tmp_path / 'data' / 'slice').touch()
    (tmp_path / 'secret').touch()
    (folder / 'inside').symlink_to(tmp_path / 'data' / 'slice')
    (folder / 'loop').symlink_to(folder / 'loop')
    paths = AllowedPaths([str(tmp_path / 'data')], [])
    assert paths.require(str(folder))
    (folder / 'below' / 'out').symlink_to(tmp_path / 'secret')
    assert refused(paths, str(folder))


def test_paths_that_were_given_at_the_start_are_allowed_as_they_are(tmp_path):
    paths = AllowedPaths([], ['relative/ct', '/data/ct', ''])
    assert paths.require('relative/ct') == 'relative/ct' and paths.require('/data/ct') == '/data/ct'
    assert refused(paths, '/data/ct/x') and refused(paths, '')


def test_the_home_folder_can_be_allowed_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert AllowedPaths(['~'], []).require(str(tmp_path / 'ct')) == str(tmp_path / 'ct')


def test_the_home_folder_has_its_sign_in_a_given_path_as_well(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert AllowedPaths([], ['~/ct']).require('~/ct') == str(tmp_path / 'ct')
