"""Runs registrations for others: session, worker process, protocol, parameters; no ROS."""
