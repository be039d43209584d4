import pytest
from cli_files import write_files


@pytest.fixture(scope='session')
def files(tmp_path_factory):
    """A CT in two formats, two X-rays of it, and their cameras."""
    return write_files(tmp_path_factory.mktemp('files'))
