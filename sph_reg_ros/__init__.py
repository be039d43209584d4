"""Registration of a CT to C-arm X-rays. Research use only, not a medical device."""

from pkgutil import extend_path

# The generated messages (sph_reg_ros.msg) may be installed under another prefix than this file.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'
