"""The command line: sph-reg check, ct-info, register, train, simulate, replay."""

from sph_reg_ros.cli.app import app, main

__all__ = ['app', 'main']
