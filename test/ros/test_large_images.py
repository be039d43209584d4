"""Large images between processes, with the Fast DDS profile that the launch files set."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from ros.harness import DOMAIN, REPOSITORY

pytestmark = pytest.mark.ros
SENT, LEAST_RECEIVED, TIMEOUT_S = 20, 18, 30.0
PROFILE = REPOSITORY / 'config' / 'fastdds_large_images.xml'
ENVIRONMENT = os.environ | {
    'ROS_DOMAIN_ID': str(DOMAIN),
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    'FASTRTPS_DEFAULT_PROFILES_FILE': str(PROFILE),
    'FASTDDS_DEFAULT_PROFILES_FILE': str(PROFILE),
}
QOS = """
import array, json, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
kind = getattr(ReliabilityPolicy, sys.argv[1])
qos, count = QoSProfile(depth=1, reliability=kind), int(sys.argv[2])
rclpy.init()
node = rclpy.create_node(sys.argv[3])
"""
PUBLISH = (
    QOS
    + """
publisher = node.create_publisher(Image, 'large', qos)
image = Image(height=1024, width=1024, step=2048, encoding='mono16')
image.data = array.array('B', bytes(2048 * 1024))
while not publisher.get_subscription_count():
    time.sleep(0.05)
time.sleep(0.5)
for _ in range(count):
    image.header.stamp = node.get_clock().now().to_msg()
    publisher.publish(image)
    time.sleep(1 / 15)
time.sleep(1.0)
"""
)
LISTEN = (
    QOS
    + """
delays = []
def receive(image):
    stamp = image.header.stamp
    delays.append(node.get_clock().now().nanoseconds - stamp.sec * 10**9 - stamp.nanosec)
node.create_subscription(Image, 'large', receive, qos)
end = time.monotonic() + 15
while time.monotonic() < end and len(delays) < count:
    rclpy.spin_once(node, timeout_sec=0.1)
print(json.dumps(delays))
"""
)


@pytest.mark.parametrize('reliability', ['RELIABLE', 'BEST_EFFORT'])
def test_images_of_two_megabytes_arrive_in_either_mode(reliability, tmp_path: Path):
    arguments = [reliability, str(SENT)]
    environment = ENVIRONMENT | {'ROS_LOG_DIR': str(tmp_path)}
    listener = subprocess.Popen(
        [sys.executable, '-c', LISTEN, *arguments, 'listener'],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    start = time.monotonic()
    subprocess.run(
        [sys.executable, '-c', PUBLISH, *arguments, 'publisher'],
        env=environment,
        check=True,
        timeout=TIMEOUT_S,
    )
    delays = json.loads(listener.communicate(timeout=TIMEOUT_S)[0])
    median_ms = statistics.median(delays) / 1e6 if delays else float('nan')
    print(f'{reliability}: {len(delays)} of {SENT} arrived, {median_ms:.1f} ms, '
          f'{time.monotonic() - start:.0f} s')  # fmt: skip
    assert len(delays) >= LEAST_RECEIVED
