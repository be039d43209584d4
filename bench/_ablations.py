"""Settings of the similarity that differ in one thing each, and where their weights lie."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from sph_reg_ros.augmentation.randomise import Randomisation
from sph_reg_ros.networks import weights
from sph_reg_ros.networks.encoder import SphericalEncoder
from sph_reg_ros.networks.fit import camera_of, features_are_poses
from sph_reg_ros.registration.networks import Networks
from sph_reg_ros.training.config import SimilarityLoss, TrainingConfig
from sph_reg_ros.training.loop import WEIGHTS_FOLDER

DEFAULT, SCRATCH = 'default', 'scratch'
DIRECTION = 0.2
"""Weight of the direction of gradients, beside that of values."""


def variants(config: TrainingConfig, images: int) -> dict[str, TrainingConfig]:
    """Return settings by name, all for the same number of X-rays.

    `default` is as the file has it. All others lack the losses `pose` and `secant`, which only so4
    has: `both` (values and direction) is what heads and single losses are to be compared with.
    What lacks randomisation is to be compared with the same training with it; a start from a
    regressor that learned with it blurs that, which the trainings from scratch are there for.

    Args:
        config: of a file such as config/train_quick.yaml.
        images: that each of them learns from.
    """
    config = _briefly(config, images)
    loss = replace(config.similarity.loss, pose=0.0, vector=0.0, secant=0.0, direction=DIRECTION)
    both = _with(config, loss)
    return {
        DEFAULT: config,
        'both': both,
        'value': _with(config, replace(loss, direction=0.0)),
        # By itself it looks at the gradients of all pairs, so that all images count.
        'direction': _with(
            config,
            replace(loss, value=0.0, all_pairs=0.0, direction=1.0, slope_share=1.0),
        ),
        'euclidean': _with_head(both, 'euclidean'),
        'sphere': _with_head(both, 'sphere'),
        'no_randomisation': _undisturbed(config),
        SCRATCH: config,
        f'{SCRATCH}_no_randomisation': _undisturbed(config),
    }


def begins_with_regressor(name: str) -> bool:
    """Return whether a variant begins with the filters of a regressor, if there is one."""
    return not name.startswith(SCRATCH)


def nothing_random() -> Randomisation:
    """Return the randomisation that leaves renderings as they are."""
    return Randomisation(**{field.name: 0.0 for field in fields(Randomisation)})


def weights_in(folder: Path) -> Path:
    """Return where the weights of a training's folder are, or the folder if it holds them."""
    inner = folder / WEIGHTS_FOLDER
    return inner if inner.is_dir() else folder


def with_similarity(networks: Networks, folder: Path) -> Networks:
    """Return networks with the similarity of a folder.

    Raises:
        WeightsError: it holds no similarity.
    """
    encoder, card = weights.load(weights_in(folder))
    if not isinstance(encoder, SphericalEncoder):
        raise weights.invalid(folder, f'it is a {card.kind}, where a similarity is needed')
    return replace(
        networks,
        encoder=encoder,
        encoder_camera=camera_of(card),
        name=folder.name,
        pose_slopes=features_are_poses(card),
    )


def trained_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and folder of each training in a folder that has weights."""
    for path in sorted(folder.iterdir()):
        if (weights_in(path) / weights.CARD_NAME).is_file():
            yield path.name, path


def _briefly(config: TrainingConfig, images: int) -> TrainingConfig:
    similarity = config.similarity
    schedule = replace(similarity.schedule, images=images)
    return replace(config, similarity=replace(similarity, schedule=schedule))


def _undisturbed(config: TrainingConfig) -> TrainingConfig:
    return replace(config, randomisation=nothing_random())


def _with(config: TrainingConfig, loss: SimilarityLoss) -> TrainingConfig:
    return replace(config, similarity=replace(config.similarity, loss=loss))


def _with_head(config: TrainingConfig, head: str) -> TrainingConfig:
    network = replace(config.similarity.network, head=head)
    return replace(config, similarity=replace(config.similarity, network=network))
