"""Patient-specific pose regressor: the pose of an X-ray of one CT, without an initial guess."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from sph_reg_ros.errors import ConfigError, ErrorCode
from sph_reg_ros.networks.layers import Chain
from sph_reg_ros.networks.pose_head import (
    TYPICAL_ROTATION_RAD,
    TYPICAL_TRANSLATION_MM,
    PoseHead,
    last_layer,
)
from sph_reg_ros.networks.trunk import resnet
from sph_reg_ros.settings import parameter, settings

MAX_WIDTH, MAX_DEPTH, MAX_IMAGE = 2048, 16, 1024
Triple = tuple[float, float, float]


@settings
class RegressorConfig:
    """How the regressor is built; the defaults are a ResNet-18 (He et al., arXiv 1512.03385).

    Attributes:
        image_size: rows and columns of the images.
        widths: channels of the four stages.
        depths: blocks of each stage.
        typical_rotation_rad: about the camera's axes, what an output of one stands for.
        typical_translation_mm: along the camera's axes.
    """

    image_size: tuple[int, int] = parameter((256, 256), low=32, high=MAX_IMAGE)
    widths: tuple[int, int, int, int] = parameter((64, 128, 256, 512), low=1, high=MAX_WIDTH)
    depths: tuple[int, int, int, int] = parameter((2, 2, 2, 2), low=1, high=MAX_DEPTH)
    typical_rotation_rad: Triple = parameter(TYPICAL_ROTATION_RAD, low=1e-6, high=10.0)
    typical_translation_mm: Triple = parameter(TYPICAL_TRANSLATION_MM, low=1e-6, high=10_000.0)

    @property
    def typical_twist(self) -> tuple[float, ...]:
        """Return (omega rad, v mm) that an output of ones stands for."""
        return (*self.typical_rotation_rad, *self.typical_translation_mm)


QUICK_REGRESSOR = RegressorConfig(image_size=(64, 64), widths=(32, 64, 128, 256))
"""For a CPU."""


class PoseRegressor(nn.Module):
    """Patient-specific pose regressor (trained on one CT): the pose an image was taken from.

    A ResNet for one channel (`networks.trunk`), the mean over all pixels, and six numbers for the
    displacement from the nominal view. Starts out by answering with that view.
    """

    def __init__(
        self,
        config: RegressorConfig,
        nominal: Float64[Tensor, '4 4'] | None = None,
        centre_mm: Float64[Tensor, '3'] | None = None,
    ) -> None:
        """Build the network with random weights.

        Args:
            config: sizes.
            nominal: camera_from_ct in the middle of the expected poses; None if weights that
                bring it along will be loaded.
            centre_mm: middle of the CT (LPS).
        """
        super().__init__()
        self.config = config
        self.trunk = Chain(*resnet(config.widths, config.depths))
        self.last = last_layer(config.widths[-1])
        _initialise(self.trunk)
        nominal = torch.eye(4, dtype=torch.float64) if nominal is None else nominal
        centre_mm = torch.zeros(3, dtype=torch.float64) if centre_mm is None else centre_mm
        self.head = PoseHead(nominal, centre_mm, config.typical_twist)

    def forward(self, images: Float[Tensor, 'B 1 H W']) -> Float64[Tensor, 'B 4 4']:
        """Return camera_from_ct of images as `normalise` returns them."""
        pose: Tensor = self.head(self.last(self.trunk(images).mean((-2, -1))))
        return pose

    def begin_with(self, trained: 'PoseRegressor') -> None:
        """Take over the weights of another one.

        Raises:
            ConfigError: it has other sizes, or another nominal view, or is of another CT.
        """
        heads = self.head.state_dict(), trained.head.state_dict()
        alike = all(torch.allclose(heads[0][name], heads[1][name]) for name in heads[0])
        if self.config != trained.config or not alike:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                'the regressor cannot begin with these weights: sizes, nominal view or CT differ',
            )
        self.load_state_dict(trained.state_dict())


def _initialise(trunk: nn.Module) -> None:
    """Keep the variance of gradients from layer to layer (He et al., arXiv 1502.01852)."""
    for part in trunk.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode='fan_out', nonlinearity='relu')
