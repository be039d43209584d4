"""Bags for tests: small ones of a simulated C-arm, changed ones, and old formats."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml
from rosbags.highlevel import AnyReader
from transforms3d.euler import euler2mat
from typer.testing import CliRunner

from sph_reg_ros.cli import app
from sph_reg_ros.messages.conversions import matrix_from_pose, nanoseconds
from sph_reg_ros.messages.conversions import transform_message as transform
from sph_reg_ros.replay.bag_messages import bag_message, bag_types
from sph_reg_ros.replay.bag_writer import new_bag

SETTINGS = [
    *('--param', 'registration.similarity:=ncc', '--param', 'registration.levels:=[24, 48]'),
    *('--param', 'registration.method:=image', '--param', 'registration.starts:=1'),
]
"""A coarse registration, fast enough for tests."""
IMAGES = 3
FIXED, IMAGER = 'carm_base', 'carm_optical'


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def simulated(ct: Path, path: Path, *options, storage: str = 'mcap') -> Path:
    """Make a bag of two images of an orbit and an angled one, on a small detector."""
    size = ['--size', 48, '--detector', 150, '--encoder-mm', 4, '--encoder-deg', 2]
    length = ['--images', 2, '--angled', 1, '--dropped', 0, '--storage', storage]
    done = run('simulate', '--ct', ct, '--output', path, *size, *length, *options)
    assert done.exit_code == 0, done.output
    return path


def replayed(bag: Path, ct: Path, folder: Path, *options):
    return run('replay', bag, '--ct', ct, '--output', folder, *options)


def read(path: Path) -> list[SimpleNamespace]:
    """Return the messages of a bag in the order of the file."""
    with AnyReader([path], default_typestore=bag_types()) as reader:
        return [
            SimpleNamespace(
                topic=connection.topic,
                kind=connection.msgtype,
                received_ns=received_ns,
                message=reader.deserialize(raw, connection.msgtype),
                raw=bytes(raw),
            )
            for connection, received_ns, raw in reader.messages()
        ]


def messages_of(path: Path, topic: str) -> list:
    return [entry.message for entry in read(path) if entry.topic == topic]


def changed(
    bag: Path, path: Path, change: Callable[[SimpleNamespace], bool | None], **options
) -> Path:
    """Write a copy of a bag; `change` may spoil an entry, and drops it by returning False."""
    with new_bag(path, options.get('storage', 'mcap')) as writer:
        for entry in read(bag):
            if change(entry) is not False:
                writer.write(entry.topic, entry.message, entry.received_ns)
    return path


def looped(bag: Path, path: Path, change: Callable[[SimpleNamespace], bool | None]) -> Path:
    """Write a bag twice into one: the stamps start again, time of arrival goes on.

    What is latched comes once; `change` may spoil or drop an entry of the second run.
    """
    entries = read(bag)
    length_ns = entries[-1].received_ns - entries[0].received_ns + 100_000_000
    with new_bag(path, 'mcap') as writer:
        for entry in entries:
            writer.write(entry.topic, entry.message, entry.received_ns)
        for entry in entries:
            if entry.topic != '/initial_pose' and change(entry) is not False:
                writer.write(entry.topic, entry.message, entry.received_ns + length_ns)
    return path


def placed(x: float, y: float, z: float, *angles: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = euler2mat(*angles), [x, y, z]
    return matrix


def transforms(*links):
    return bag_message('tf2_msgs/TFMessage', transforms=list(links))


def by_tf(bag: Path, path: Path) -> Path:
    """Write a bag in which the C-arm is on /tf, late, and its mount comes at the very end."""
    mount = placed(20, -300, 450, 0.3, -0.7, 1.9)
    exposed = {nanoseconds(image.header.stamp) for image in messages_of(bag, '/image')}
    with new_bag(path, 'mcap') as writer:
        for entry in read(bag):
            if entry.topic == '/tf':  # of the simulator, at the very stamps
                continue
            if entry.topic != '/imager_pose':
                writer.write(entry.topic, entry.message, entry.received_ns)
                continue
            arm = matrix_from_pose(entry.message.pose) @ np.linalg.inv(mount)
            stamp_ns = nanoseconds(entry.message.header.stamp)
            # It stands still for the exposure.
            for offset in (-40_000_000, 30_000_000) if stamp_ns in exposed else ():
                link = transform(arm, FIXED, 'arm', stamp_ns + offset, bag_message)
                writer.write('/tf', transforms(link), entry.received_ns + 300_000_000)
        last = transform(mount, 'arm', IMAGER, stamp_ns, bag_message)
        writer.write('/tf_static', transforms(last), entry.received_ns + 10**9)
    return path


def write_old_bag(bag: Path, path: Path) -> Path:
    """Write a copy as Foxy did: sqlite3, version 4, without message definitions and hashes."""
    entries = read(bag)
    topics = sorted({(entry.topic, entry.kind) for entry in entries})
    path.mkdir()
    database = sqlite3.connect(path / 'old_0.db3')
    database.execute(
        'CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, '
        'serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)'
    )
    database.execute(
        'CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, '
        'timestamp INTEGER NOT NULL, data BLOB NOT NULL)'
    )
    for number, (topic, kind) in enumerate(topics, 1):
        database.execute('INSERT INTO topics VALUES(?, ?, ?, "cdr", "")', (number, topic, kind))
    numbers = {topic: number for number, (topic, _) in enumerate(topics, 1)}
    database.executemany(
        'INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)',
        [(numbers[entry.topic], entry.received_ns, entry.raw) for entry in entries],
    )
    database.commit()
    database.close()
    stamps = [entry.received_ns for entry in entries]
    counts = {topic: sum(entry.topic == topic for entry in entries) for topic, _ in topics}
    information = {
        'version': 4,
        'storage_identifier': 'sqlite3',
        'relative_file_paths': ['old_0.db3'],
        'duration': {'nanoseconds': max(stamps) - min(stamps)},
        'starting_time': {'nanoseconds_since_epoch': min(stamps)},
        'message_count': len(entries),
        'compression_format': '',
        'compression_mode': '',
        'topics_with_message_count': [
            {
                'topic_metadata': {
                    'name': topic,
                    'type': kind,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': '',
                },
                'message_count': counts[topic],
            }
            for topic, kind in topics
        ],
    }
    (path / 'metadata.yaml').write_text(
        yaml.safe_dump({'rosbag2_bagfile_information': information})
    )
    return path
