"""Recording for the rerun viewer: patient, source, detector and images over time.

Lengths are metres, as in ROS. The patient is shown where each registration put it, usable or not;
its verdict is logged beside it.
"""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int32

from sph_reg_ros.errors import ErrorCode, RuntimeUnavailableError
from sph_reg_ros.imaging.ct.volume import CT
from sph_reg_ros.imaging.load import load_ct
from sph_reg_ros.messages.conversions import MM_PER_M
from sph_reg_ros.messages.xray_view import InitialPose, XRayView
from sph_reg_ros.replay.bag_reader import opened
from sph_reg_ros.replay.bag_replay import ReplayJob
from sph_reg_ros.replay.bag_stream import BagStream
from sph_reg_ros.replay.record import BagRecord, ImageRow

NAME = 'replay.rrd'
WORLD, IMAGER, PATIENT = 'world', 'world/imager', 'world/patient'
BONE_HU, SKIN_HU = 250.0, -300.0
_MOST_VOXELS = 96
_DETECTOR_M = 1.0


def write_recording(record: BagRecord, job: ReplayJob) -> Path:
    """Write `replay.rrd` into the output folder and return its path.

    Raises:
        RuntimeUnavailableError: BACKEND_UNAVAILABLE without rerun-sdk and scikit-image.
        BagError: the bag cannot be read any more.
    """
    rerun = rerun_module()
    path = job.output / NAME
    stream = rerun.RecordingStream('sph_reg_ros', recording_id=record.name)
    stream.save(path)
    rows = {(row.run, row.stamp_ns): row for row in record.rows}
    parameters = job.parameters
    chosen = parameters.ct
    ct = load_ct(
        Path(chosen.path), series_uid=chosen.series_uid or None, assume_lps=chosen.assume_lps
    )
    vertices_mm, triangles = surface(ct)
    mesh = rerun.Mesh3D(
        vertex_positions=vertices_mm / MM_PER_M,
        triangle_indices=triangles,
        albedo_factor=(235, 225, 205, 255),
    )
    stream.log(f'{PATIENT}/ct', mesh, static=True)

    def show(view: XRayView, initial: InitialPose | None) -> None:
        _log_view(rerun, stream, view, rows.get((run, view.stamp_ns)))

    with opened(job.bag, job.topics, parameters) as inputs:
        messages = BagStream(parameters, show, lambda header, error: None)
        for run, events in groupby(inputs.events(), lambda event: event.run):  # noqa: B007
            for event in events:
                messages.take(event)
            messages.finish()
    stream.flush()
    stream.disconnect()
    path.chmod(0o600)
    return path


def surface(ct: CT) -> tuple[Float32[np.ndarray, 'N 3'], Int32[np.ndarray, 'M 3']]:
    """Return the surface of the bones, of the skin where there are none: LPS mm, triangles."""
    from skimage.measure import marching_cubes

    strides = [-(-size // _MOST_VOXELS) for size in ct.hounsfield.shape]
    coarse = ct.hounsfield[tuple(slice(None, None, stride) for stride in strides)]
    coarse = np.pad(coarse.astype(np.float32), 1, constant_values=-1024.0)
    level = BONE_HU if coarse.max() > BONE_HU else SKIN_HU
    if not coarse.min() < level < coarse.max():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    corners, triangles, _, _ = marching_cubes(coarse, level)
    index = ((corners - 1) * strides)[:, ::-1]
    points = index @ ct.ct_from_index[:3, :3].T + ct.ct_from_index[:3, 3]
    return points.astype(np.float32), triangles.astype(np.int32)


def _log_view(rerun: Any, stream: Any, view: XRayView, row: ImageRow | None) -> None:
    stream.set_time('stamp', timestamp=np.datetime64(view.stamp_ns, 'ns'))
    world_from_imager = np.eye(4) if view.imager is None else view.imager.matrix
    stream.log(IMAGER, _transform(rerun, world_from_imager))
    stream.log(f'{IMAGER}/source', rerun.Points3D([[0.0, 0.0, 0.0]], radii=0.01))
    height, width = view.pixels.shape
    camera = rerun.Pinhole(
        image_from_camera=view.K,
        resolution=(width, height),
        camera_xyz=rerun.ViewCoordinates.RDF,
        image_plane_distance=_DETECTOR_M,
    )
    stream.log(f'{IMAGER}/detector', camera)
    stream.log(f'{IMAGER}/detector/image', rerun.Image(view.pixels, color_model='L'))
    if row is None:
        return
    stream.log('verdict', rerun.TextLog(' '.join(filter(None, (row.verdict, row.reason)))))
    if row.camera_from_ct is not None:
        stream.log(PATIENT, _transform(rerun, world_from_imager @ np.array(row.camera_from_ct)))
    if row.error is not None:
        stream.log('error_mm', rerun.Scalars(row.error.mtre_mm))
    if np.isfinite(row.similarity_after):
        stream.log('similarity', rerun.Scalars(row.similarity_after))


def _transform(rerun: Any, parent_from_child: Float64[np.ndarray, '4 4']) -> Any:
    translation = parent_from_child[:3, 3] / MM_PER_M
    return rerun.Transform3D(translation=translation, mat3x3=parent_from_child[:3, :3])


def rerun_module() -> Any:
    """Return the library; raises RuntimeUnavailableError without it or scikit-image."""
    try:
        import rerun
        import skimage  # noqa: F401
    except ImportError:
        raise RuntimeUnavailableError(
            ErrorCode.BACKEND_UNAVAILABLE,
            "a recording needs rerun-sdk and scikit-image: pip install 'sph_reg_ros[rerun]'",
        ) from None
    return rerun
