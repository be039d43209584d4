"""Registration of a CT to C-arm X-rays. Research use only, not a medical device."""

from importlib import import_module
from pkgutil import extend_path
from typing import Any

# The generated messages (sph_reg_ros.msg) may be installed under another prefix than this file.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'

_PUBLIC = {
    'CT': 'imaging.ct.volume',
    'Camera': 'geometry',
    'Frame': 'registration.frame_views',
    'IntensityModel': 'imaging.xray.intensity',
    'RegistrationConfig': 'registration.config',
    'RegistrationRequest': 'registration.request',
    'RegistrationResult': 'registration.result',
    'Target': 'registration.target',
    'Tracker': 'registration.track',
    'Verdict': 'registration.result',
    'View': 'registration.view',
    'ViewMaker': 'registration.prepared_view',
    'XRay': 'imaging.xray.xray_image',
    'attenuation_from_hounsfield': 'imaging.attenuation',
    'find_target': 'registration.target',
    'load_bodies': 'imaging.load_bodies',
    'load_ct': 'imaging.load',
    'load_labels': 'imaging.load_bodies',
    'load_xray': 'imaging.load',
    'register': 'registration.register',
    'render': 'rendering.render',
    'render_with_jacobian': 'rendering.render',
    'sample_ct_path': 'imaging.sample_ct',
    'view_of': 'registration.prepared_view',
}
"""The library in short, by the modules of its parts; imported lazily, as torch takes seconds."""
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_PUBLIC[name]}'), name)
