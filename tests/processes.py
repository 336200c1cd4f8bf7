"""Schedules that several tests walk over: the paper's, a short one, and one with no pattern."""

import pytest
import torch
from torch import Tensor

from ddpm_lite import NoiseSchedule, cosine_schedule, linear_schedule

SCHEDULES = [linear_schedule(), cosine_schedule(100), NoiseSchedule([0.3, 0.9, 0.05])]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def column(value: float) -> Tensor:
    """One image of one pixel, in float64."""
    return torch.full((1, 1), value, dtype=torch.float64)
