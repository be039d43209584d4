"""Rigid transforms and the X-ray camera: maths on tensors, no input or output."""

from sph_reg_ros.geometry.camera import Camera

__all__ = ['Camera']
