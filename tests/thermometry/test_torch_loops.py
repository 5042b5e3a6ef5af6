"""The thermometer in PyTorch loops that are out of the ordinary: several rates and precisions, sparse
gradients, skipped steps, checkpoints."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'heatbath[torch]'")

from heatbath.errors import Refused  # noqa: E402
from heatbath.torch import ReduceLROnStationarity, Thermometer  # noqa: E402

torch.set_num_threads(1)


def layers(d=20, dtypes=(torch.float32, torch.float32)):
    return torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(d, dtype=dtype)) for dtype in dtypes])


def train(model, optimizer, steps, before_step=lambda: None, seed=0):
    """U = |theta|^2/2 with gradient noise 1."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for p in model:
            p.grad = p.detach() + torch.randn(p.shape, generator=generator).to(p.dtype)
        before_step()
        optimizer.step()


@pytest.mark.parametrize("every", [1, 7])
def test_a_row_of_several_rates_is_the_sum_of_its_layers(every):
    found = []
    for groups in (None, lambda name: "both"):
        model = layers()
        slow = {"params": [model[1]], "lr": 0.01, "weight_decay": 1.0}
        optimizer = torch.optim.SGD([{"params": [model[0]]}, slow], lr=0.1)
        thermometer = Thermometer(model, optimizer, every=every, groups=groups)
        train(model, optimizer, 700)
        found.append(thermometer.statistics().summary(discard=0).total)
    apart, joined = found
    assert joined.temperature.value == pytest.approx(apart.temperature.value, rel=1e-5)
    assert joined.virial_temperature.value == pytest.approx(apart.virial_temperature.value, rel=1e-5)
    assert joined.ratio.value == pytest.approx(apart.ratio.value, rel=1e-5)


@pytest.mark.parametrize("narrow", [torch.float32, torch.bfloat16])
def test_layers_of_several_precisions(narrow):
    model = layers(dtypes=(narrow, torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    thermometer = Thermometer(model, optimizer, every=1)
    train(model, optimizer, 40, before_step=lambda: thermometer.micro_batch(8))
    assert np.isfinite(thermometer.statistics().summary(discard=0)["0"].virial_temperature.value)


def test_sparse_gradients_of_micro_batches():
    found = []
    for sparse in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Embedding(10, 3, sparse=sparse)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        thermometer = Thermometer(model, optimizer, every=1)
        for t in range(40):
            optimizer.zero_grad()
            for k in range(2):
                ((model(torch.tensor([t % 10, 3 * k])) - t % 3) ** 2).mean().backward()
                thermometer.micro_batch(2)
            optimizer.step()
        found.append(thermometer.statistics().summary(discard=0).total.noise_scale.value)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_micro_batches_of_a_skipped_step_do_not_count():
    """The step after one that the loop leaves out; both thermometers see the same steps else."""
    found = []
    for skip in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Linear(5, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        thermometer = Thermometer(model, optimizer, every=1)
        for t in range(60):
            x = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(t))
            if t % 3 == 0 and not skip:
                continue
            optimizer.zero_grad()
            for micro in x:
                ((model(micro) - 1) ** 2).mean().backward()
                thermometer.micro_batch(8)
            if t % 3:
                optimizer.step()
        found.append(thermometer.statistics().summary(discard=0).total.noise_scale.value)
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_decoupled_weight_decay_is_not_in_the_gradient(name):
    kind = getattr(torch.optim, name, None)
    if kind is None:
        pytest.skip(f"this PyTorch has no {name}")
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 4, bias=False)
    optimizer = kind(model.parameters(), lr=0.01, weight_decay=1.0)
    thermometer = Thermometer(model, optimizer, every=20)
    virials = []
    for t in range(200):
        optimizer.zero_grad()
        ((model(torch.randn(16, 6)) - 1) ** 2).mean().backward()
        virials += [float((model.weight.detach() * model.weight.grad).sum()) / 24] * (t % 20 == 19)
        optimizer.step()
    row = thermometer.statistics().summary(discard=0).total
    assert row.virial_temperature.value == pytest.approx(np.mean(virials), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_clipped_gradients_of_half_precision_are_noticed(dtype):
    reasons = []
    for limit in (3.0, 1e3):
        model = layers(dtypes=(dtype, dtype))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        thermometer = Thermometer(model, optimizer, every=20)

        def clip(model=model, limit=limit):
            torch.nn.utils.clip_grad_norm_(model.parameters(), limit)

        train(model, optimizer, 1_000, before_step=clip)
        reasons.append(thermometer.summary().total.virial_temperature.reason)
    assert "clipped" in reasons[0]
    assert "clipped" not in reasons[1]


@pytest.mark.parametrize("limit", [2.0, 1e3])
def test_scaled_gradients_read_before_they_are_unscaled_and_clipped(limit):
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu")
    thermometer = Thermometer(model, optimizer, every=20)
    for _ in range(1_000):
        x = torch.randn(8, 8)
        optimizer.zero_grad()
        scaler.scale(((model(x) - 3 * torch.randn(8, 8)) ** 2).sum() / 8).backward()
        thermometer.before_clipping()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        scaler.step(optimizer)
        scaler.update()
    found = thermometer.summary().total.virial_temperature
    assert ("clipped" in found.reason) == (limit == 2.0)
    assert not found.value > 10


def test_a_single_row_is_not_told_twice():
    model = layers()
    thermometer = Thermometer(model, torch.optim.SGD(model.parameters(), lr=0.1), groups=lambda name: "both")
    summary = thermometer.summary()
    assert str(summary).count("both") == 1
    assert [row["layer"] for row in summary.to_dict()["rows"]] == ["both"]
    assert summary["both"] is summary.total


@pytest.mark.parametrize("state", [None, {}, {"statistics": {}}, {"steps": 3}])
def test_states_of_something_else_are_refused(state):
    model = layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for target in (Thermometer(model, optimizer), ReduceLROnStationarity(optimizer)):
        with pytest.raises(Refused, match="not the state"):
            target.load_state_dict(state)


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
