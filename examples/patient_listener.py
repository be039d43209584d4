"""What a robot does: look up the patient on tf2. Run it beside `ros2 launch sph_reg_ros …`."""

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import Buffer, TransformListener

rclpy.init()
node = Node('patient_listener')
buffer = Buffer()
listener = TransformListener(buffer, node, spin_thread=True)
for _ in range(10):
    if buffer.can_transform('base_link', 'patient', Time(), Duration(seconds=1.0)):
        found = buffer.lookup_transform('base_link', 'patient', Time())
        print(found.header.stamp, found.transform)
    else:
        print('no verified patient')
