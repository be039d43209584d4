"""All settings of a training: what a file in config/train_*.yaml holds."""

from sph_reg_ros.augmentation.randomise import Randomisation
from sph_reg_ros.errors import require_setting
from sph_reg_ros.networks.agnostic import AgnosticConfig
from sph_reg_ros.networks.encoder_config import EncoderConfig
from sph_reg_ros.networks.regressor import RegressorConfig
from sph_reg_ros.settings import parameter, settings
from sph_reg_ros.training.poses import Displacements, PoseRanges
from sph_reg_ros.training.run_config import Anatomy, Imager, Run
from sph_reg_ros.training.schedule import Schedule

GEODESICS = ('double', 'centre')
_TEACHING = ('value', 'all_pairs', 'direction', 'pose', 'vector', 'secant')


@settings
class RegressorLoss:
    """What the regressor learns from.

    Attributes:
        geodesic: double: rotation and way of the X-ray source (DiffPose); centre: rotation and way
            of the middle of the CT, which is nearer to the error of the anatomy.
        length_mm: what one radian weighs for `centre`; `double` takes half of sdd_mm.
        pose: weight of the geodesic, by mm.
        image: weight of 1 - NCC between renderings at the found and at the true pose; 0 spares
            the rendering.
    """

    geodesic: str = parameter('double', choices=GEODESICS)
    length_mm: float = 510.0
    pose: float = 0.01
    image: float = parameter(0.0, low=0.0)

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        require_setting(self.length_mm > 0, 'length_mm must be positive')
        require_setting(self.pose > 0, 'pose must be positive')


@settings
class SimilarityLoss:
    """Weights of what the similarity learns from; 0 leaves a part out.

    Attributes:
        value: that the learned distance be that of the poses.
        all_pairs: that it be so between all X-rays and renderings of a batch, by logarithms.
        direction: that its gradient point the same way.
        pose: that each pair of quaternions be the pose itself; for the head so4 only.
        vector: that its residuals be those of the poses; for the head so4 only.
        secant: that a small step of a rendering change it by that step; for the head so4 only.
        conditioning: that no motion be harder to see than another, at equal poses.
        shortness: that quaternions be of some length before they are scaled to one.
        unit_mm: errors beyond it count linearly.
        slope_share: of the pairs, which `direction` and `conditioning` look at, as they take long.
        secant_mm: length of the small step in each direction of a shift, and of a rotation where
            `so4.EMBEDDING_LENGTH_MM` from the middle of the CT.
    """

    value: float = parameter(1.0, low=0.0)
    all_pairs: float = parameter(0.0, low=0.0)
    direction: float = parameter(0.1, low=0.0)
    pose: float = parameter(0.0, low=0.0)
    vector: float = parameter(0.0, low=0.0)
    secant: float = parameter(0.0, low=0.0)
    conditioning: float = parameter(0.0, low=0.0)
    shortness: float = parameter(1.0, low=0.0)
    unit_mm: float = 40.0
    slope_share: float = parameter(1.0, low=0.0, high=1.0)
    secant_mm: float = 2.5

    @property
    def looks_at_slopes(self) -> bool:
        """Return whether derivatives by the pose are needed."""
        return self.direction > 0 or self.conditioning > 0

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        require_setting(self.unit_mm > 0, 'unit_mm must be positive')
        require_setting(self.secant_mm > 0, 'secant_mm must be positive')
        require_setting(
            any(getattr(self, name) > 0 for name in _TEACHING),
            f'one of {", ".join(_TEACHING)} must count',
        )


@settings
class RegressorSettings:
    """The regressor: network, for several CTs another one, loss and schedule."""

    network: RegressorConfig = RegressorConfig()
    agnostic_network: AgnosticConfig = AgnosticConfig()
    loss: RegressorLoss = RegressorLoss()
    schedule: Schedule = Schedule()


@settings
class SimilaritySettings:
    """The similarity: network, pairs of poses, loss and schedule."""

    network: EncoderConfig = EncoderConfig()
    displacements: Displacements = Displacements()
    loss: SimilarityLoss = SimilarityLoss()
    schedule: Schedule = Schedule()

    def __post_init__(self) -> None:
        """Check that head and loss fit; raises ConfigError."""
        require_setting(
            self.loss.vector == self.loss.pose == self.loss.secant == 0
            or self.network.head == 'so4',
            'the losses vector, pose and secant are for the head so4',
        )


@settings
class TrainingConfig:
    """A file in config/train_*.yaml; both networks share all but the last two groups.

    Attributes:
        licence: of the weights.
        description: of the weights, for people.
    """

    licence: str = 'not stated'
    description: str = ''
    run: Run = Run()
    imager: Imager = Imager()
    anatomy: Anatomy = Anatomy()
    poses: PoseRanges = PoseRanges()
    randomisation: Randomisation = Randomisation()
    regressor: RegressorSettings = RegressorSettings()
    similarity: SimilaritySettings = SimilaritySettings()
