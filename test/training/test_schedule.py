import pytest

from sph_reg_ros.errors import ConfigError
from sph_reg_ros.training.schedule import Schedule


def test_devices_share_the_images_of_a_training():
    schedule = Schedule(images=500_000, batch=4)
    assert schedule.steps(1) == 125_000 and schedule.steps(2) == 62_500
    assert Schedule(images=1, batch=4).steps(1) == 1


def test_a_cosine_goes_from_the_largest_to_the_lowest_rate():
    schedule = Schedule(learning_rate=2.0, course='cosine', lowest_share=0.1)
    rates = [schedule.learning_rate_at(step, 100) for step in range(101)]
    assert rates[0] == 2.0 and rates[50] == pytest.approx(1.1) and rates[100] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)


def test_triangles_start_and_end_at_the_lowest_rate():
    schedule = Schedule(learning_rate=1.0, course='cyclic', cycle_steps=10, lowest_share=0.01)
    rates = [schedule.learning_rate_at(step, 1000) for step in range(21)]
    assert rates[0] == rates[20] == pytest.approx(0.01) and rates[10] == pytest.approx(1.0)
    assert rates[5] == pytest.approx(rates[15]) == pytest.approx(0.505)


def test_a_warm_up_grows_linearly_and_is_never_0():
    schedule = Schedule(learning_rate=1.0, course='constant', warmup_share=0.1)
    rates = [schedule.learning_rate_at(step, 100) for step in range(12)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)]) and rates[10:] == [1.0, 1.0]


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('images', 0),
        ('batch', 0),
        ('optimiser', 'sgd'),
        ('course', 'steps'),
        ('learning_rate', 0.0),
        ('warmup_share', 1.5),
        ('clip_norm', -1.0),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        Schedule(**{name: value})
