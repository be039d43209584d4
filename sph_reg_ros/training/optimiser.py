"""Optimiser and one training step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sph_reg_ros.errors import ErrorCode, SolverError
from sph_reg_ros.training.schedule import Schedule
from sph_reg_ros.training.task import LOSS, Losses

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MOST_BAD_STEPS = 20
"""Steps without a usable gradient, one after the other, after which a training gives up."""


def optimiser_of(
    module: nn.Module, schedule: Schedule, pretrained: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Return the optimiser that a schedule names.

    Args:
        module: what learns.
        schedule: settings.
        pretrained: its weights that were trained before; they learn by
            `pretrained_lr_scale`.
    """
    known = {id(parameter) for parameter in pretrained}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in known]
    groups: list[dict[str, Any]] = [{'params': rest, 'share': 1.0}]
    if pretrained and schedule.pretrained_lr_scale > 0:
        groups.append({'params': list(pretrained), 'share': schedule.pretrained_lr_scale})
    if schedule.optimiser == 'adamw':
        # Fused, a step takes a third of the time on a CPU, where it is a tenth of the whole.
        return torch.optim.AdamW(
            groups, schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
        )
    return torch.optim.Adam(groups, schedule.learning_rate, fused=True)


class Learner:
    """Makes steps with a module and an optimiser that Fabric has set up."""

    def __init__(self, fabric: 'Fabric', module: Any, optimiser: Any, schedule: Schedule) -> None:
        """Take what steps are made with."""
        self._fabric, self._module, self._optimiser = fabric, module, optimiser
        self._schedule = schedule
        self._steps = schedule.steps(fabric.world_size)
        self._bad_steps = 0

    def learn(self, batch: Any, step: int) -> Losses | None:
        """Learn from a batch, and return its losses; None if there is no finite gradient.

        Raises:
            SolverError: NUMERICAL if that happened again and again.
        """
        rate = self._schedule.learning_rate_at(step, self._steps)
        for group in self._optimiser.param_groups:
            group['lr'] = rate * group['share']
        self._optimiser.zero_grad()
        losses: Losses = self._module(batch)
        self._fabric.backward(losses[LOSS])
        # The same on all devices, as gradients are.
        norm = torch.nn.utils.clip_grad_norm_(
            self._module.parameters(), self._schedule.clip_norm or torch.inf
        )
        if not bool(norm.isfinite()):
            self._skip(step)
            return None
        self._bad_steps = 0
        self._optimiser.step()
        return losses

    def _skip(self, step: int) -> None:
        self._bad_steps += 1
        if self._bad_steps >= MOST_BAD_STEPS:
            raise SolverError(
                ErrorCode.NUMERICAL,
                f'no finite gradient since step {step - MOST_BAD_STEPS + 2}: the learning rate is '
                'too high',
            )
