from dataclasses import fields, replace

import pytest
import torch
from randomised import changed, line_integrals, seeded

from sph_reg_ros.augmentation import beam, erasing, field, instruments, intensity, smoothing
from sph_reg_ros.augmentation.randomise import Randomisation, randomise
from sph_reg_ros.errors import ConfigError

OPERATIONS = {
    'smooth': smoothing.smooth,
    'add_noise': intensity.add_noise,
    'renormalise': intensity.renormalise,
    'scale': intensity.scale,
    'change_gamma': intensity.change_gamma,
    'bend': intensity.bend,
    'erase': erasing.erase,
    'harden': beam.harden,
    'add_scatter': beam.add_scatter,
    'count_photons': beam.count_photons,
    'add_instrument': instruments.add_instrument,
    'collimate': lambda *arguments: field.collimate(*arguments)[0],
}
NOTHING = Randomisation(**{f.name: 0.0 for f in fields(Randomisation)})
EVERYTHING = Randomisation(**{f.name: 1.0 for f in fields(Randomisation)})


@pytest.fixture(params=OPERATIONS, name='operation')
def _operation(request):
    return OPERATIONS[request.param]


def test_an_operation_of_probability_0_changes_nothing(operation):
    images = line_integrals()
    assert torch.equal(operation(images, seeded(), 0.0), images)


def test_an_operation_changes_about_the_share_of_images_that_it_was_told(operation):
    images = line_integrals(400)
    share = changed(images, operation(images, seeded(), 0.5)).double().mean()
    assert 0.38 < share < 0.62


def test_the_same_generator_gives_the_same_images_and_another_does_not(operation):
    images = line_integrals()
    first, again, other = (operation(images, seeded(seed), 1.0) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert changed(first, other).any()


def test_every_image_gets_parameters_of_its_own_and_the_input_stays(operation):
    images = line_integrals(1).expand(32, -1, -1).contiguous()
    before = images.clone()
    found = operation(images, seeded(3), 1.0)
    assert torch.equal(images, before)
    assert changed(found[:1].expand_as(found), found).any()
    assert torch.isfinite(found).all() and found.dtype == images.dtype


def test_nothing_happens_to_an_image_where_everything_is_switched_off():
    images = line_integrals()
    found, mask = randomise(images, NOTHING, seeded())
    assert torch.equal(found, images) and mask.all()


def test_everything_at_once_keeps_images_finite_and_masks_the_collimator():
    images = line_integrals(size=(40, 40))
    found, mask = randomise(images, EVERYTHING, seeded())
    assert torch.isfinite(found).all()
    assert changed(images, found).all()
    assert (~mask).flatten(1).any(1).float().mean() > 0.7
    assert mask.flatten(1).any(1).all()


def test_a_collimator_that_the_network_is_not_told_of_stays_in_the_image():
    images = line_integrals(size=(40, 40))
    how = replace(NOTHING, collimator=1.0)
    found, mask = randomise(images, how, seeded())
    assert mask.all()
    assert (found.flatten(1).amax(1) > images.flatten(1).amax(1) + 3).float().mean() > 0.5


def test_the_values_behind_a_told_collimator_do_not_widen_the_range_of_the_image():
    images = line_integrals(size=(40, 40))
    found, mask = randomise(images, replace(NOTHING, collimator=1.0, field_told=1.0), seeded())
    assert torch.equal(found[mask], images[mask])
    assert found.max() <= images.max()


def test_a_probability_beyond_1_is_refused():
    with pytest.raises(ConfigError, match='erasing'):
        Randomisation(erasing=1.5)
