"""Registration of a CT to C-arm X-rays. Research use only, not a medical device."""

from importlib import import_module
from pkgutil import extend_path
from typing import Any

# The generated messages (sph_reg_ros.msg) may be installed under another prefix than this file.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'

_PUBLIC = {
    'Camera': 'geometry',
    'RegistrationConfig': 'registration.config',
    'RegistrationRequest': 'registration.request',
    'View': 'registration.view',
    'attenuation_from_hounsfield': 'imaging.attenuation',
    'load_bodies': 'imaging.load_bodies',
    'load_ct': 'imaging.load',
    'load_xray': 'imaging.load',
    'register': 'registration.register',
    'render': 'rendering.render',
    'view_of': 'registration.prepared_view',
}
"""The library in short, by the modules of its parts; imported lazily, as torch takes seconds."""
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_PUBLIC[name]}'), name)
