"""Bags without ROS: simulated ones, and their registration by the code of the node."""
