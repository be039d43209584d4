"""Sizes of the encoder."""

from dataclasses import dataclass

from sph_reg_ros.errors import require_setting

HEADS = ('so4', 'sphere', 'euclidean')
TRUNKS = ('pool', 'resnet')
POOLINGS = ('mean', 'flatten')
RESNET_STEM_STRIDE = 4
MAX_WIDTH, MAX_DEPTH, MAX_IMAGE, MAX_PAIRS = 1024, 16, 1024, 256


@dataclass(frozen=True)
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

    image_size: tuple[int, int] = (256, 256)
    head: str = 'so4'
    trunk: str = 'pool'
    pairs: int = 16
    stem_kernel: int = 3
    stem_stride: int = 1
    widths: tuple[int, ...] = (8, 16, 32, 64, 64)
    depths: tuple[int, ...] = (0, 2, 2, 2, 2)
    transformer_blocks: int = 2
    attention_heads: int = 4
    expansion: int = 2
    pooling: str = 'mean'

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError."""
        require_setting(self.head in HEADS, f'head must be one of {", ".join(HEADS)}')
        require_setting(self.trunk in TRUNKS, f'trunk must be one of {", ".join(TRUNKS)}')
        require_setting(self.pooling in POOLINGS, f'pooling must be one of {", ".join(POOLINGS)}')
        require_setting(1 <= self.pairs <= MAX_PAIRS, f'pairs must lie in [1, {MAX_PAIRS}]')
        require_setting(
            self.stem_kernel % 2 == 1 and 1 <= self.stem_stride <= self.stem_kernel <= 15,
            'stem_kernel must be odd, at most 15 and no smaller than stem_stride',
        )
        require_setting(
            1 <= len(self.widths) <= 8 and all(1 <= width <= MAX_WIDTH for width in self.widths),
            f'widths must be 1 to 8 numbers in [1, {MAX_WIDTH}]',
        )
        require_setting(
            len(self.depths) == len(self.widths) and all(0 <= n <= MAX_DEPTH for n in self.depths),
            f'depths must be as many numbers as widths, in [0, {MAX_DEPTH}]',
        )
        require_setting(
            0 <= self.transformer_blocks <= MAX_DEPTH,
            f'transformer_blocks must lie in [0, {MAX_DEPTH}]',
        )
        require_setting(
            self.attention_heads >= 1 and self.widths[-1] % self.attention_heads == 0,
            'attention_heads must divide the last width',
        )
        require_setting(1 <= self.expansion <= 8, 'expansion must lie in [1, 8]')
        require_setting(
            len(self.image_size) == 2
            and all(0 < n <= MAX_IMAGE and n % self.stride == 0 for n in self.image_size),
            f'image_size must be two multiples of {self.stride} up to {MAX_IMAGE}',
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
