"""The thermometer in PyTorch loops that are out of the ordinary: several rates and precisions, sparse
gradients, skipped steps, checkpoints."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'heatbath[torch]'")

from heatbath.errors import Refused  # noqa: E402
from heatbath.torch import ReduceLROnStationarity  # noqa: E402

torch.set_num_threads(1)


def layers(d=20, dtypes=(torch.float32, torch.float32)):
    return torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(d, dtype=dtype)) for dtype in dtypes])


@pytest.mark.parametrize("wrong", [{"window": "a"}, {"window": 1.5}, {"factor": "a"}, {"factor": 2}])
def test_schedules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(Refused, match="give a"):
        ReduceLROnStationarity(torch.optim.SGD(layers().parameters(), lr=0.1), **wrong)


def test_saving_a_schedule_changes_nothing():
    """Saved between a test and the steps that wait for it, the optimizer first: the rate falls at the step at
    which it falls undisturbed, here and in the run that goes on from the checkpoint."""

    def run(save_at=0, resume=False):
        model, rates = layers(), []
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = ReduceLROnStationarity(optimizer, window=500)
        generator = torch.Generator().manual_seed(3)
        for t in range(1, 2_100):
            for p in model:
                p.grad = p.detach() + torch.randn(p.shape, generator=generator)
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
            if t == save_at:
                saved = copy.deepcopy(optimizer.state_dict()), scheduler.state_dict()
            if t == save_at and resume:
                scheduler.close()
                optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
                scheduler = ReduceLROnStationarity(optimizer, window=500)
                for part, state in zip((optimizer, scheduler), saved, strict=True):
                    part.load_state_dict(state)
        return rates

    rates = run()
    falls = int(np.argmax(np.array(rates) < 0.1))
    assert falls > 0
    assert run(falls - 5) == run(falls - 5, resume=True) == rates
