"""Bags without ROS: made by a simulated C-arm, and registered by the node's own handlers."""
