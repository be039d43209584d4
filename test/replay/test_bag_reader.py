"""Bags that are not what they should be end in a typed error that says what to do."""

import pytest
from bags import changed, looped, read, replayed
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

pytest.importorskip('diffdrr.renderers')

from sph_reg_ros.errors import BagError, ConfigError, ErrorCode
from sph_reg_ros.messages.conversions import nanoseconds
from sph_reg_ros.replay.bag_messages import bag_types
from sph_reg_ros.replay.bag_reader import opened
from sph_reg_ros.replay.bag_topics import named_topics


def refused(path, names=None) -> BagError:
    with pytest.raises(BagError) as caught, opened(path, names or {}) as inputs:
        list(inputs.events())
    return caught.value


def moved_topics(bag, path, new_names):
    def rename(entry):
        entry.topic = new_names.get(entry.topic, entry.topic)

    return changed(bag, path, rename)


def test_what_explains_an_image_comes_before_it(bag):
    with opened(bag, {}) as inputs:
        names = [event.name for event in inputs.events()]
        assert inputs.images == names.count('image') == 3
    assert names[:2] == ['initial_pose', 'camera_info']
    before = names[: names.index('image')]
    assert 'imager_pose' in before


def test_events_come_by_header_stamp(bag):
    with opened(bag, {}) as inputs:
        later = [event for event in inputs.events() if event.stamp_ns]
    assert [event.stamp_ns for event in later] == sorted(event.stamp_ns for event in later)
    assert all(nanoseconds(event.message.header.stamp) == event.stamp_ns for event in later)


def test_a_bag_that_starts_again_is_in_order_run_by_run(bag, tmp_path):
    with opened(bag, {}) as inputs:
        once = [(event.name, event.stamp_ns) for event in inputs.events() if event.stamp_ns]
    with opened(looped(bag, tmp_path / 'bag', lambda entry: None), {}) as inputs:
        twice = [event for event in inputs.events() if event.stamp_ns]
        assert inputs.runs == 2 and [shot.run for shot in inputs.shots] == [0] * 3 + [1] * 3
    first = [(event.name, event.stamp_ns) for event in twice if event.run == 0]
    second = [(event.name, event.stamp_ns) for event in twice if event.run == 1]
    assert first == once
    assert [entry for entry in second if entry[0] != 'camera_info'] == [
        entry for entry in once if entry[0] != 'camera_info'
    ]
    assert [event.run for event in twice] == sorted(event.run for event in twice)


def test_topics_in_a_namespace_are_found(bag, tmp_path):
    names = {f'/{name}': f'/carm/{name}' for name in ('image', 'camera_info', 'imager_pose')}
    with opened(moved_topics(bag, tmp_path / 'bag', names), {}) as inputs:
        assert inputs.topics['image'] == '/carm/image'
        assert inputs.topics['imager_pose'] == '/carm/imager_pose'


def test_a_topic_of_another_name_is_asked_for_with_the_candidates(bag, tmp_path):
    path = moved_topics(bag, tmp_path / 'bag', {'/image': '/fluoro'})
    error = refused(path)
    assert error.code == ErrorCode.BAG_TOPIC_MISSING and '/fluoro' in str(error)
    with opened(path, {'image': 'fluoro'}) as inputs:
        assert inputs.images == 3


def test_a_topic_of_the_wrong_type_is_named(bag):
    error = refused(bag, {'image': '/camera_info'})
    assert error.code == ErrorCode.BAG_TOPIC_MISSING and 'CameraInfo' in str(error)


def test_a_truth_that_is_no_pose_is_refused(bag):
    with opened(bag, {}) as inputs, pytest.raises(BagError, match='ground_truth'):
        inputs.poses('/image')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_a_truncated_bag_is_refused(ct, bag, tmp_path, storage, share):
    path = changed(bag, tmp_path / 'bag', lambda entry: None, storage=storage)
    file = next(p for p in path.iterdir() if p.suffix in ('.mcap', '.db3'))
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    error = refused(path)
    assert error.code == ErrorCode.BAG_UNREADABLE and 'reindex' in str(error)


@pytest.mark.parametrize('text', ['', 'rosbag2_bagfile_information: {version: 99}', '[1'])
def test_a_bag_without_usable_metadata_is_refused(bag, tmp_path, text):
    path = changed(bag, tmp_path / 'bag', lambda entry: None)
    (path / 'metadata.yaml').write_text(text)
    assert refused(path).code == ErrorCode.BAG_UNREADABLE


def test_the_command_tells_the_error_and_ends_with_code_2(ct, tmp_path):
    done = replayed(tmp_path / 'absent', ct, tmp_path / 'out')
    assert done.exit_code == 2 and 'BAG_UNREADABLE' in done.stderr
    assert not (tmp_path / 'out').exists()


def test_a_bag_with_a_changed_byte_in_a_message_is_refused_or_read(bag, tmp_path):
    path = changed(bag, tmp_path / 'bag', lambda entry: None, storage='mcap')
    file = next(path.glob('*.mcap'))
    content = bytearray(file.read_bytes())
    for position in range(200, len(content), len(content) // 15):
        spoilt = bytearray(content)
        spoilt[position] ^= 0xFF
        file.write_bytes(spoilt)
        try:
            with opened(path, {}) as inputs:
                list(inputs.events())
        except BagError as error:
            assert error.code in (ErrorCode.BAG_UNREADABLE, ErrorCode.BAG_TOPIC_MISSING)


def test_topics_are_named_as_remappings_are():
    assert named_topics(['image:=/xray', 'imager_pose:=arm']) == {
        'image': '/xray',
        'imager_pose': 'arm',
    }
    for text in ('image', 'image:=', 'picture:=/xray'):
        with pytest.raises(ConfigError):
            named_topics([text])


def copied(bag, path, *, compression=None, others=()):
    """Write a copy with compression or with topics whose types nobody can parse."""
    writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        topics = {}
        for topic, kind, definition in others:
            writer.add_connection(topic, kind, msgdef=definition, rihs01='RIHS01_' + '0' * 64)
        for entry in read(bag):
            if entry.topic not in topics:
                topics[entry.topic] = writer.add_connection(
                    entry.topic, entry.kind, typestore=bag_types()
                )
            writer.write(topics[entry.topic], entry.received_ns, entry.raw)
    return path


def images_of(path) -> int:
    with opened(path, {}) as inputs:
        return [event.name for event in inputs.events()].count('image')


def test_topics_that_are_not_asked_for_may_be_of_any_type(bag, tmp_path):
    service = (
        '=' * 80 + '\nSRV: std_srvs/srv/SetBool\nbool data\n---\nbool success\nstring message\n'
    )
    others = [
        ('/enable/_service_event', 'std_srvs/srv/SetBool_Event', service),
        ('/odd', 'our_msgs/msg/Odd', 'this is no definition ['),
    ]
    assert images_of(copied(bag, tmp_path / 'bag', others=others)) == 3


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_bag_compressed_by_zstd_is_read(bag, tmp_path, mode):
    assert images_of(copied(bag, tmp_path / 'bag', compression=mode)) == 3


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_single_file_is_read_without_metadata(bag, tmp_path, storage):
    path = changed(bag, tmp_path / 'bag', lambda entry: None, storage=storage)
    file = next(p for p in path.iterdir() if p.suffix in ('.mcap', '.db3'))
    assert images_of(file) == 3
    (path / 'metadata.yaml').unlink()
    assert images_of(path) == images_of(file) == 3


def test_what_is_no_bag_is_told_apart(bag, tmp_path):
    assert 'no such file or folder' in str(refused(tmp_path / 'absent'))
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0\nrest')
    assert 'rosbags-convert --src old.bag --dst old' in str(refused(tmp_path / 'old.bag'))
    (tmp_path / 'notes.txt').write_text('hello')
    assert 'it is no bag' in str(refused(tmp_path / 'notes.txt'))
    (tmp_path / 'empty').mkdir()
    assert 'neither metadata.yaml nor' in str(refused(tmp_path / 'empty'))
    for name in ('0.mcap', '1.mcap'):
        (tmp_path / 'empty' / name).write_bytes(b'')
    assert 'reindex' in str(refused(tmp_path / 'empty'))
    for path in ('old.bag', 'notes.txt', 'absent', 'empty'):
        assert refused(tmp_path / path).code == ErrorCode.BAG_UNREADABLE
