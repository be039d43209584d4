import pytest

from sph_reg_ros.files import write_together


def test_all_files_are_written_for_their_owner_only_unless_told_otherwise(tmp_path):
    contents = {tmp_path / 'a': b'1', tmp_path / 'b': b'2'}
    write_together(contents)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == contents
    assert (tmp_path / 'a').stat().st_mode & 0o777 == 0o600
    write_together(contents, 0o644)
    assert (tmp_path / 'b').stat().st_mode & 0o777 == 0o644


def test_if_one_cannot_be_written_the_others_stay_as_they_were(tmp_path):
    (tmp_path / 'a').write_bytes(b'old')
    with pytest.raises(OSError):
        write_together({tmp_path / 'a': b'new', tmp_path / 'missing' / 'b': b'2'})
    assert [path.name for path in tmp_path.iterdir()] == ['a']
    assert (tmp_path / 'a').read_bytes() == b'old'


def test_nothing_is_written_where_a_folder_has_the_name_of_a_file(tmp_path):
    (tmp_path / 'taken').mkdir()
    (tmp_path / 'taken' / 'inside').touch()
    with pytest.raises(OSError):
        write_together({tmp_path / 'taken': b'1', tmp_path / 'b': b'2'})
    assert [path.name for path in tmp_path.iterdir()] == ['taken']
