"""The ROS 2 face: the only place that imports rclpy and knows metres and messages."""
