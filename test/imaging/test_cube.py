import torch
from phantoms import AFFINE, smooth_phantom

from sph_reg_ros.imaging.attenuation import AttenuationVolume
from sph_reg_ros.imaging.cube import cube_of


def test_the_axes_of_a_cube_are_superior_posterior_left_whatever_those_of_the_ct():
    mu = torch.zeros(20, 20, 20)
    mu[12, 5, 8] = 1.0  # k, j, i
    for affine, place in (
        (torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])), (12, 5, 8)),
        # i runs to the feet, j to the left, k to the front.
        (torch.tensor([[0.0, 2, 0, 3], [0, 0, -2, 9], [-2, 0, 0, -4], [0, 0, 0, 1]]), (11, 7, 5)),
    ):
        volume = AttenuationVolume(mu, affine.double())
        cube = cube_of(volume, 20, 40.0)
        assert torch.equal((cube > 0.9).nonzero()[0], torch.tensor(place))
        assert torch.isclose(cube.sum(), torch.tensor(1.0), atol=1e-4)


def test_a_cube_is_centred_on_the_ct_and_air_outside_it():
    volume = smooth_phantom((24, 40, 36), AFFINE)
    cube = cube_of(volume, 64, 400.0)
    voxel = 400.0 / 64
    mass = float(cube.sum()) * voxel**3
    expected = float(volume.mu.sum()) * 2.0 * 1.5 * 3.0
    assert abs(mass / expected - 1) < 0.05
    assert cube[0].abs().max() == cube[:, :, -1].abs().max() == 0
    k, j, i = torch.meshgrid(*[torch.arange(n).double() for n in volume.shape], indexing='ij')
    index = torch.stack([i, j, k, torch.ones_like(i)], -1)
    points = (index @ AFFINE.T)[..., :3] - volume.centre
    middle = (points * volume.mu[..., None]).sum((0, 1, 2)) / volume.mu.sum()
    place = torch.stack(torch.meshgrid(*[torch.arange(64.0)] * 3, indexing='ij'), -1)
    found = (place * cube[..., None]).sum((0, 1, 2)) / cube.sum()
    assert torch.allclose((found.flip(0) - 31.5) * voxel, middle.float(), atol=1.0)
