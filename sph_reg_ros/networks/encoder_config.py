"""Sizes of the encoder."""

from sph_reg_ros.errors import require_setting
from sph_reg_ros.settings import parameter, settings

HEADS = ('so4', 'sphere', 'euclidean')
TRUNKS = ('pool', 'resnet')
POOLINGS = ('mean', 'flatten')
RESNET_STEM_STRIDE = 4
MAX_WIDTH, MAX_DEPTH, MAX_IMAGE, MAX_PAIRS = 1024, 16, 1024, 256


@settings
class EncoderConfig:
    """How the encoder is built; PAPER and QUICK are two of them.

    Attributes:
        image_size: rows and columns of the images; the strides of all stages divide them.
        head: so4: pairs of unit quaternions; sphere: one unit vector; euclidean: a plain vector.
        trunk: pool: blocks that pool or filter each channel by itself; resnet: those of the pose
            regressor, which the encoder can begin with; it has its own stem.
        pairs: quaternion pairs K; the other heads have as many numbers, 8 K.
        stem_kernel: rows and columns of the first filters, odd.
        stem_stride: pixels between them.
        widths: channels of each stage; each after the first halves the resolution.
        depths: blocks of each stage.
        transformer_blocks: blocks that compare tokens, the pixels of the last stage.
        attention_heads: heads of each; they divide the last width.
        expansion: channels inside a block's perceptron by those outside.
        pooling: mean of the tokens, or flatten: each of them counts by its place.
    """

    image_size: tuple[int, int] = parameter((256, 256), low=1, high=MAX_IMAGE)
    head: str = parameter('so4', choices=HEADS)
    trunk: str = parameter('pool', choices=TRUNKS)
    pairs: int = parameter(16, low=1, high=MAX_PAIRS)
    stem_kernel: int = parameter(3, low=1, high=15)
    stem_stride: int = parameter(1, low=1, high=15)
    widths: tuple[int, ...] = parameter((8, 16, 32, 64, 64), low=1, high=MAX_WIDTH)
    depths: tuple[int, ...] = parameter((0, 2, 2, 2, 2), low=0, high=MAX_DEPTH)
    transformer_blocks: int = parameter(2, low=0, high=MAX_DEPTH)
    attention_heads: int = parameter(4, low=1, high=MAX_WIDTH)
    expansion: int = parameter(2, low=1, high=8)
    pooling: str = parameter('mean', choices=POOLINGS)

    def __post_init__(self) -> None:
        """Check what ranges cannot say; raises ConfigError."""
        require_setting(
            self.stem_kernel % 2 == 1 and self.stem_stride <= self.stem_kernel,
            'stem_kernel must be odd and no smaller than stem_stride',
        )
        require_setting(1 <= len(self.widths) <= 8, 'widths must be 1 to 8 numbers')
        require_setting(
            len(self.depths) == len(self.widths), 'depths must be as many numbers as widths'
        )
        require_setting(
            self.widths[-1] % self.attention_heads == 0,
            'attention_heads must divide the last width',
        )
        require_setting(
            all(n % self.stride == 0 for n in self.image_size),
            f'image_size must be two multiples of {self.stride}',
        )

    @property
    def stride(self) -> int:
        """Return the pixels between tokens."""
        stem = self.stem_stride if self.trunk == 'pool' else RESNET_STEM_STRIDE
        return int(stem * 2 ** (len(self.widths) - 1))

    @property
    def tokens(self) -> int:
        """Return how many tokens an image has."""
        height, width = self.image_size
        return (height // self.stride) * (width // self.stride)


PAPER = EncoderConfig()
"""The widths and the 16 x 16 tokens of the paper's predecessor (arXiv 2402.02498)."""
QUICK = EncoderConfig(
    image_size=(64, 64), trunk='resnet', widths=(32, 64, 128, 256), depths=(2, 2, 2, 2)
)
"""For a CPU: begins with the regressor of `regressor.QUICK_REGRESSOR`; 2 x 2 tokens."""
