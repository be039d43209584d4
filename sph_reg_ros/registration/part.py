"""Registration of a CT that holds only a part of what the X-rays show: one body in no CT."""

from dataclasses import replace

from sph_reg_ros.imaging.bodies.body import Bodies, Body
from sph_reg_ros.registration.bodies import without_rest
from sph_reg_ros.registration.course import Course, Observer
from sph_reg_ros.registration.part_search import PartSearch
from sph_reg_ros.registration.request import RegistrationRequest
from sph_reg_ros.registration.result import RegistrationResult


def register_part(
    request: RegistrationRequest,
    search: PartSearch | None = None,
    observer: Observer | None = None,
) -> RegistrationResult:
    """Find a part of the anatomy in X-rays that show more.

    The same as `register` with one body and no rest.

    Args:
        request: CT of the part, air around it; whole X-rays; initial pose. The config's search_*
            say how far that may be off, and a single view's depth stays near it; its levels are
            rows of the region around the part.
        search: settings of the search.
        observer: as of `register`; stages come again for every pose that is tried.

    Raises:
        PoseError: POSE_INVALID without initial pose: X-rays that show more do not tell a part.
        SolverError: the part is not in view at the initial pose.
        CancelledError: the observer asked to stop.
    """
    bodies = Bodies((Body('part', request.volume),), None)
    return without_rest(replace(request, bodies=bodies), Course(observer), True, search)
