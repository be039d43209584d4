"""Types of the library in short, which is imported lazily."""

from sph_reg_ros.geometry import Camera as Camera
from sph_reg_ros.imaging.attenuation import (
    attenuation_from_hounsfield as attenuation_from_hounsfield,
)
from sph_reg_ros.imaging.ct.volume import CT as CT
from sph_reg_ros.imaging.load import load_ct as load_ct
from sph_reg_ros.imaging.load import load_xray as load_xray
from sph_reg_ros.imaging.load_bodies import load_bodies as load_bodies
from sph_reg_ros.imaging.load_bodies import load_labels as load_labels
from sph_reg_ros.imaging.sample_ct import sample_ct_path as sample_ct_path
from sph_reg_ros.imaging.xray.intensity import IntensityModel as IntensityModel
from sph_reg_ros.imaging.xray.xray_image import XRay as XRay
from sph_reg_ros.registration.config import RegistrationConfig as RegistrationConfig
from sph_reg_ros.registration.frame_views import Frame as Frame
from sph_reg_ros.registration.prepared_view import ViewMaker as ViewMaker
from sph_reg_ros.registration.prepared_view import view_of as view_of
from sph_reg_ros.registration.register import register as register
from sph_reg_ros.registration.request import RegistrationRequest as RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult as RegistrationResult
from sph_reg_ros.registration.result import Verdict as Verdict
from sph_reg_ros.registration.target import Target as Target
from sph_reg_ros.registration.target import find_target as find_target
from sph_reg_ros.registration.track import Tracker as Tracker
from sph_reg_ros.registration.view import View as View
from sph_reg_ros.rendering.render import render as render
from sph_reg_ros.rendering.render import render_with_jacobian as render_with_jacobian

__version__: str
