"""CT-conditioned pose regressor: works for patients that it was not trained on.

After RTPIv3, the regressor that 2509.06890 uses for unseen patients, as its description has it:
group norms for batch norms, and adaptive pooling where its sizes do not fit each other.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from sph_reg_ros.errors import require_setting
from sph_reg_ros.geometry import se3
from sph_reg_ros.networks.group_norm import group_norm
from sph_reg_ros.networks.pose_head import (
    TYPICAL_ROTATION_RAD,
    TYPICAL_TRANSLATION_MM,
    PoseHead,
    last_layer,
)
from sph_reg_ros.networks.split_attention import SplitAttentionBottleneck
from sph_reg_ros.settings import parameter, settings

WATER_PER_MM = 0.02
"""Attenuation that counts as 1."""
JOINT_WIDTHS = (64, 32, 16)
CT_CHANNELS = 16
_DOWN = 2 ** len(JOINT_WIDTHS)
_MAX_WIDTH, _MAX_GRID = 512, 64


@settings
class AgnosticConfig:
    """How the CT-conditioned regressor is built; the defaults are the published sizes.

    Attributes:
        image_size: rows and columns of the images.
        widths: channels of the two stages, of CT and X-ray alike.
        grid: voxels along each side of the CT where its planes become channels.
        dropout: share of features left out in training.
        typical_rotation_rad: about the camera's axes, what an output of one stands for.
        typical_translation_mm: along the camera's axes.
    """

    image_size: tuple[int, int] = parameter((256, 256), low=32, high=1024)
    widths: tuple[int, int] = parameter((64, 128), low=1, high=_MAX_WIDTH)
    grid: int = parameter(32, low=1, high=_MAX_GRID)
    dropout: float = parameter(0.2, low=0.0, high=0.99)
    typical_rotation_rad: tuple[float, float, float] = parameter(TYPICAL_ROTATION_RAD, low=1e-6)
    typical_translation_mm: tuple[float, float, float] = parameter(TYPICAL_TRANSLATION_MM, low=1e-6)

    def __post_init__(self) -> None:
        """Check what ranges cannot say; raises ConfigError."""
        step = _DOWN // 2
        require_setting(self.grid % step == 0, f'grid must be a multiple of {step}')


QUICK_AGNOSTIC = AgnosticConfig(image_size=(128, 128), widths=(16, 32), grid=16)
"""For a CPU."""


class AgnosticRegressor(nn.Module):
    """An image and a CT to the pose, about the middle of the CT."""

    def __init__(
        self, config: AgnosticConfig, nominal: Float64[Tensor, '4 4'] | None = None
    ) -> None:
        """Build the network with random weights.

        Args:
            config: sizes.
            nominal: camera_from_centred in the middle of the expected poses; None if weights that
                bring it along will be loaded.
        """
        super().__init__()
        self.config = config
        self.ct_path, self.image_path = _ct_path(config), _image_path(config)
        fused = CT_CHANNELS * config.grid // 4 + config.widths[1]
        self.joint = _joint_path(fused, 2 * config.grid)
        nominal = torch.eye(4, dtype=torch.float64) if nominal is None else nominal
        twist = (*config.typical_rotation_rad, *config.typical_translation_mm)
        self.head = PoseHead(nominal, torch.zeros(3, dtype=torch.float64), twist)

    def forward(
        self, images: Float[Tensor, 'B 1 H W'], mu: Float[Tensor, 'B 1 D D D']
    ) -> Float64[Tensor, 'B 4 4']:
        """Return camera_from_centred: LPS axes with the origin in the middle of the CT, to camera.

        Args:
            images: as `normalise` returns them.
            mu: attenuation (1/mm) on cubes of the same physical size, axes along LPS (S, P, L).
        """
        # Coronal planes become channels: they lie as a frontal X-ray does. Four of them then make
        # one of twice the resolution, which is that of the image.
        planes = self.ct_path(mu / WATER_PER_MM).movedim(3, 2).flatten(1, 2)
        volume = nn.functional.pixel_shuffle(planes, 2)
        pose: Tensor = self.head(self.joint(torch.cat([volume, self.image_path(images)], 1)))
        return pose


def camera_from_ct(
    camera_from_centred: Float64[Tensor, '*b 4 4'], centre_mm: Float64[Tensor, '*b 3']
) -> Float64[Tensor, '*b 4 4']:
    """Return the pose of a CT whose middle lies at `centre_mm` (LPS)."""
    R, t = camera_from_centred[..., :3, :3], camera_from_centred[..., :3, 3]
    return se3.from_parts(R, t - (R @ centre_mm[..., None])[..., 0])


def _ct_path(config: AgnosticConfig) -> nn.Sequential:
    first, second = config.widths
    return nn.Sequential(
        *_stage(nn.Conv3d, 1, 1, config.dropout),
        nn.MaxPool3d(2),
        *_stage(nn.Conv3d, 1, first, config.dropout),
        *_stage(nn.Conv3d, first, second, config.dropout),
        nn.Conv3d(second, CT_CHANNELS, 1),
        nn.AdaptiveAvgPool3d(config.grid),
    )


def _image_path(config: AgnosticConfig) -> nn.Sequential:
    first, second = config.widths
    return nn.Sequential(
        *_stage(nn.Conv2d, 1, first, config.dropout),
        *_stage(nn.Conv2d, first, second, config.dropout),
        nn.AdaptiveAvgPool2d(2 * config.grid),
    )


def _joint_path(channels: int, side: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, 128, 3, padding=1)]
    channels = 128
    for width in JOINT_WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        layers += [SplitAttentionBottleneck(width), nn.MaxPool2d(2)]
        channels = width
    features = channels * (side // _DOWN) ** 2
    layers += [nn.Flatten(), nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU()]
    return nn.Sequential(*layers, last_layer(128))


def _stage(
    convolution: type[nn.Conv2d] | type[nn.Conv3d], before: int, width: int, dropout: float
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (before, width):
        layers += [convolution(channels, width, 3, padding=1), group_norm(width), nn.ReLU()]
        layers.append(nn.Dropout(dropout))
    flat = convolution is nn.Conv2d
    return [*layers, nn.AvgPool2d(2) if flat else nn.AvgPool3d(2)]
