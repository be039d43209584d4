"""Conversions of messages to the units of the core, and their matching; no ROS here."""
