"""The thermometer in PyTorch loops: it changes nothing, and sees the same as a hand-written one."""

import copy
import io
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'heatbath[torch]'")

from heatbath.errors import Refused  # noqa: E402
from heatbath.thermometry.adapters.sinks import as_sink  # noqa: E402
from heatbath.thermometry.summary import BROKEN, STATIONARY  # noqa: E402
from heatbath.torch import ReduceLROnStationarity, Thermometer  # noqa: E402

torch.set_num_threads(1)
STEPS = 120
INPUTS = torch.randn(STEPS, 16, 6, generator=torch.Generator().manual_seed(1))
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "fused": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
}


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def loss(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return ((model(x)[:, 0] - x.sum(dim=1).sin()) ** 2).mean()


def train(model, optimizer, steps=range(STEPS), before_step=lambda: None):
    for t in steps:
        optimizer.zero_grad()
        loss(model, INPUTS[t]).backward()
        before_step()
        optimizer.step()


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_parameters_are_bit_identical(name, every):
    bare, watched = network(), network()
    train(bare, OPTIMIZERS[name](bare.parameters()))
    optimizer = OPTIMIZERS[name](watched.parameters())
    thermometer = Thermometer(watched, optimizer, every=every)
    train(watched, optimizer)
    assert thermometer.summary().total.size == 65
    assert same(bare, watched)


def by_hand(name: str, layer: str, decay: float = 0.0) -> dict[str, float]:
    """<u.theta>, eta <|u|^2>/(2 d) and <theta.g>/d of one parameter, from copies of the parameters."""
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    eta, rows = optimizer.param_groups[0]["lr"], []
    for t in range(STEPS):
        old = dict(copy.deepcopy(model).named_parameters())[layer].detach().double()
        train(model, optimizer, [t])
        new = dict(model.named_parameters())[layer]
        u = (old - new.detach().double()) / eta
        g = new.grad.double() + decay * old
        rows.append([(old * u).sum(), eta * (u**2).sum() / 2, (old * g).sum()])
    left, right, virial = np.array(rows, float).mean(axis=0)
    return {"ratio": left / right, "temperature": right / new.numel(), "virial": virial / new.numel()}


@pytest.mark.parametrize(("name", "decay"), [("sgd", 0.01), ("nesterov", 0.0), ("adamw", 0.0)])
def test_it_sees_what_copies_of_the_parameters_see(name, decay):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    thermometer = Thermometer(model, optimizer, every=1)
    train(model, optimizer)
    row = thermometer.statistics().summary(discard=0)["0.weight"]
    expected = by_hand(name, "0.weight", decay)
    assert row.ratio.value == pytest.approx(expected["ratio"], rel=1e-3)
    assert row.temperature.value == pytest.approx(expected["temperature"], rel=1e-3)


def test_the_steps_between_observations_are_counted_in():
    """theta.u of all steps, from what |theta|^2 has lost since the last observed one."""
    model, eta = network(), 0.02
    optimizer = OPTIMIZERS["nesterov"](model.parameters())
    thermometer = Thermometer(model, optimizer, every=10)
    squares, left, right = [], [], []
    for t in range(STEPS):
        old = model[0].weight.detach().double().clone()
        train(model, optimizer, [t])
        new = model[0].weight.detach().double()
        squares.append(float((new**2).sum()))
        left.append(float((old * (old - new)).sum()) / eta)
        right.append(float(((old - new) ** 2).sum()) / (2 * eta))
    row = thermometer.statistics().summary(discard=0)["0.weight"]
    observed = np.arange(9, STEPS, 10)
    expected = np.array(right)[observed] - np.diff(np.array(squares)[observed], prepend=np.nan) / (20 * eta)
    expected[0] = left[9]
    assert row.ratio.value == pytest.approx(expected.sum() / np.array(right)[observed].sum(), rel=1e-3)


def test_virial_temperature_of_the_steps_at_which_it_is_read():
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    thermometer = Thermometer(model, optimizer, every=10)
    virials = []
    for t in range(STEPS):
        old = model[0].weight.detach().double().clone()
        train(model, optimizer, [t])
        g = model[0].weight.grad.double() + 0.01 * old
        virials += [float((old * g).sum()) / 48] * (t % 20 == 19)
    row = thermometer.statistics().summary(discard=0)["0.weight"]
    assert row.virial_temperature.value == pytest.approx(np.mean(virials), rel=1e-4)


def test_a_stationary_quadratic_is_told():
    """U = |theta|^2/2 with gradient noise 1, plain SGD: T = eta/(2 - eta) for both temperatures; two-sided at
    4.5 standard errors, which are under 2 %."""
    parameter = torch.nn.Parameter(torch.zeros(200))
    model = torch.nn.ParameterList([parameter])
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    thermometer = Thermometer(model, optimizer, every=1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(6_000):
        parameter.grad = parameter.detach() + torch.randn(200, generator=generator)
        optimizer.step()
    row = thermometer.summary()["0"]
    for found, exact in ((row.temperature, 1 / 3), (row.virial_temperature, 1 / 3), (row.ratio, 1.0)):
        assert abs(found.value - exact) < 4.5 * found.std_error < 4.5 * 0.02 * exact
    assert row.verdict == STATIONARY


def test_gradient_accumulation_gives_the_noise_scale():
    """theta at 0, gradients (3, 0, ...) + noise of covariance 1 in 20 dimensions: scale 20/9."""
    parameter = torch.nn.Parameter(torch.zeros(20))
    model = torch.nn.ParameterList([parameter])
    optimizer = torch.optim.SGD([parameter], lr=1e-6)
    thermometer = Thermometer(model, optimizer, every=2)
    generator = torch.Generator().manual_seed(0)
    mean = torch.zeros(20)
    mean[0] = 3.0
    for _ in range(1_500):
        optimizer.zero_grad()
        for _ in range(4):
            micro = mean + torch.randn(20, generator=generator) / 8**0.5
            (parameter @ micro / 4).backward()
            thermometer.micro_batch(8)
        optimizer.step()
    found = thermometer.summary()["0"].noise_scale
    assert found.reliable
    assert abs(found.value - 20 / 9) < 4.5 * found.std_error < 4.5 * 0.03 * 20 / 9


def test_no_noise_scale_from_unequal_micro_batches():
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    thermometer = Thermometer(model, optimizer, every=1)
    for t in range(40):
        optimizer.zero_grad()
        for size in (16, 8):
            loss(model, INPUTS[t][:size]).backward()
            thermometer.micro_batch(size)
        optimizer.step()
    assert "no micro-batches" in thermometer.summary()["0.weight"].noise_scale.reason


def virial(model, optimizer, loop) -> float:
    thermometer = Thermometer(model, optimizer, every=1)
    loop(model, optimizer, thermometer)
    return thermometer.statistics().summary(discard=0).total.virial_temperature.value


@pytest.mark.parametrize("read_early", [False, True])
@pytest.mark.parametrize("name", ["sgd", "fused"])
def test_scaled_gradients_are_unscaled(name, read_early):
    """GradScaler: plain optimizers get unscaled gradients, fused ones unscale inside their step; with
    `before_clipping` they are read before. The optimizers' rates are too small to move, so that both loops
    see the same gradients."""

    def plain(model, optimizer, _):
        train(model, optimizer)

    def scaled(model, optimizer, thermometer):
        scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=50)
        for t in range(STEPS):
            optimizer.zero_grad()
            scaler.scale(loss(model, INPUTS[t])).backward()
            if read_early:
                thermometer.before_clipping()
            scaler.step(optimizer)
            scaler.update()

    found = []
    for loop in (plain, scaled):
        model = network()
        optimizer = OPTIMIZERS[name](model.parameters())
        for group in optimizer.param_groups:
            group["lr"] = 1e-9
        found.append(virial(model, optimizer, loop))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_an_overflow_does_not_count():
    model = network()
    optimizer = OPTIMIZERS["fused"](model.parameters())
    thermometer = Thermometer(model, optimizer, every=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for t in range(64):
        optimizer.zero_grad()
        scaled = scaler.scale(loss(model, INPUTS[t]))
        (scaled * (float("inf") if t % 8 == 0 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
    summary = thermometer.statistics().summary(discard=0)
    assert summary.observations == 56
    assert np.isfinite(summary.total.virial_temperature.value)


LIMIT = 0.3


def clipped_by_torch(model, optimizer, thermometer):
    train(model, optimizer, before_step=lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), LIMIT))


def clipped_by_value(model, optimizer, thermometer):
    train(model, optimizer, before_step=lambda: torch.nn.utils.clip_grad_value_(model.parameters(), 0.05))


def clipped_by_us(model, optimizer, thermometer):
    train(model, optimizer, before_step=lambda: thermometer.clip_grad_norm_(LIMIT))


@pytest.mark.parametrize("loop", [clipped_by_torch, clipped_by_value])
def test_clipped_gradients_are_refused_and_updates_are_not(loop):
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    thermometer = Thermometer(model, optimizer, every=1)
    loop(model, optimizer, thermometer)
    row = thermometer.statistics().summary(discard=0).total
    assert np.isnan(row.virial_temperature.value)
    assert "clipped" in row.virial_temperature.reason
    assert np.isfinite(row.ratio.value)
    assert "clipped" in str(thermometer.summary())


def test_our_clipping_is_torchs_and_reads_the_gradients_first():
    models = [network(), network()]
    optimizers = [OPTIMIZERS["sgd"](m.parameters()) for m in models]
    thermometer = Thermometer(models[1], optimizers[1], every=1)
    clipped_by_torch(models[0], optimizers[0], None)
    clipped_by_us(models[1], optimizers[1], thermometer)
    assert same(*models)
    assert np.isfinite(thermometer.summary().total.virial_temperature.value)


def test_frozen_layers_are_named_and_others_too():
    model = network()
    model[0].weight.requires_grad_(False)
    model.register_parameter("counts", torch.nn.Parameter(torch.arange(3), requires_grad=False))
    optimizer = torch.optim.SGD([model[2].weight, model[0].bias], lr=0.05)
    thermometer = Thermometer(model, optimizer, every=1)
    train(model, optimizer, range(20))
    summary = thermometer.summary()
    assert [row.layer for row in summary.rows] == ["0.bias", "2.weight"]
    assert summary.skipped == {
        "0.weight": "frozen",
        "2.bias": "not in the optimizer",
        "counts": "not floating-point numbers",
    }
    assert "not measured: 0.weight (frozen)" in str(summary)


def test_refusals():
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    for every in (0, -1, 1.5, True):
        with pytest.raises(Refused, match="whole number"):
            Thermometer(model, optimizer, every=every)
    with pytest.raises(Refused, match="no trainable parameter"):
        Thermometer(torch.nn.ReLU(), optimizer)
    with pytest.raises(Refused, match="not in the optimizer"):
        Thermometer(network(), optimizer)
    with pytest.raises(Refused, match="sink is a int"):
        Thermometer(model, optimizer, sink=3)
    with pytest.raises(Refused, match=r"give a torch\.nn\.Module"):
        Thermometer(model.parameters(), optimizer)
    with pytest.raises(Refused, match=r"give a torch\.optim\.Optimizer"):
        Thermometer(model, model)
    with pytest.raises(Refused, match="groups is 'layer'"):
        Thermometer(model, optimizer, groups="layer")
    thermometer = Thermometer(model, optimizer)
    with pytest.raises(Refused, match="number of its examples"):
        thermometer.micro_batch(0)
    with pytest.raises(Refused, match="not the state of a thermometer"):
        thermometer.load_state_dict({})
    with pytest.raises(Refused, match=r"no layer '3\.weight'"):
        thermometer.summary()["3.weight"]
    optimizer.param_groups[0]["lr"] = None  # as Adafactor may have it
    with pytest.raises(Refused, match="no learning rate"):
        Thermometer(model, optimizer)


def test_tied_parameters_count_once_and_groups_are_rows():
    model = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh(), torch.nn.Linear(6, 6))
    model[2].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    thermometer = Thermometer(model, optimizer, every=1, groups=lambda name: name.split(".")[1])
    numbered = Thermometer(model, optimizer, groups=lambda name: int(name[0]))
    assert "2" in str(numbered.summary())
    train(model, optimizer, range(20))
    assert [(row.layer, row.size) for row in thermometer.summary().rows] == [("weight", 36), ("bias", 12)]


def test_different_learning_rates():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.01}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    thermometer = Thermometer(model, optimizer, every=1)
    train(model, optimizer)
    sums = thermometer.statistics().series[0].blocks.sum(axis=0)
    np.testing.assert_allclose(sums[:, 1] / sums[:, 0], [0.1, 0.1, 0.01, 0.01])


def test_closures():
    model, reference = network(), network()
    found = []
    for net, with_closure in ((model, True), (reference, False)):
        optimizer = OPTIMIZERS["sgd"](net.parameters())
        thermometer = Thermometer(net, optimizer, every=1)
        for t in range(40):

            def closure(net=net, optimizer=optimizer, t=t):
                optimizer.zero_grad()
                value = loss(net, INPUTS[t])
                value.backward()
                return value

            if with_closure:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
        found.append(thermometer.statistics().state_dict())
    assert found[0] == found[1]


def test_a_resumed_run_measures_the_same():
    whole, first = network(), network()
    optimizer = OPTIMIZERS["nesterov"](whole.parameters())
    expected = Thermometer(whole, optimizer, every=3)
    train(whole, optimizer)

    optimizer = OPTIMIZERS["nesterov"](first.parameters())
    thermometer = Thermometer(first, optimizer, every=3)
    train(first, optimizer, range(50))
    file = io.BytesIO()
    torch.save([first.state_dict(), optimizer.state_dict(), thermometer.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)

    second = network(1)
    optimizer = OPTIMIZERS["nesterov"](second.parameters())
    thermometer = Thermometer(second, optimizer, every=3)
    for part, state in zip((second, optimizer, thermometer), states, strict=True):
        part.load_state_dict(state)
    train(second, optimizer, range(50, STEPS))
    assert thermometer.state_dict() == expected.state_dict()
    with pytest.raises(Refused, match="another model"):
        Thermometer(
            torch.nn.ParameterList([p := torch.nn.Parameter(torch.ones(2))]), torch.optim.SGD([p], lr=1.0)
        ).load_state_dict(states[2])


def test_closed_it_no_longer_looks():
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with Thermometer(model, optimizer, every=1) as thermometer:
        train(model, optimizer, range(10))
    train(model, optimizer, range(10, 20))
    assert thermometer.summary().observations <= 10
    assert thermometer.statistics().observations == 10


def test_compiled_models():
    model = network()
    compiled = torch.compile(model, backend="eager")
    optimizer = OPTIMIZERS["sgd"](compiled.parameters())
    thermometer = Thermometer(compiled, optimizer, every=1)
    train(compiled, optimizer, range(20))
    assert thermometer.summary()["0.weight"].size == 48


def test_half_precision_does_not_overflow():
    parameter = torch.nn.Parameter(torch.full((100,), 200.0, dtype=torch.float16))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    thermometer = Thermometer(torch.nn.ParameterList([parameter]), optimizer, every=1)
    for _ in range(20):
        parameter.grad = torch.full_like(parameter, 100.0)
        optimizer.step()
    assert np.isfinite(thermometer.statistics().summary(discard=0).total.ratio.value)


class Writer:
    """Has what a SummaryWriter has."""

    def __init__(self):
        self.seen = []

    def add_scalar(self, name, value, step):
        self.seen.append((name, value, step))


class Run:
    """Has what a W&B run has."""

    def __init__(self):
        self.logged, self.axes = [], []

    def define_metric(self, name, step_metric):
        self.axes.append((name, step_metric))

    def log(self, numbers):
        self.logged.append(numbers)


def test_sinks(monkeypatch):
    monkeypatch.setattr("heatbath.thermometry.adapters.torch.FETCH", 32)
    model, writer = network(), Writer()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    thermometer = Thermometer(model, optimizer, every=1, sink=writer)
    train(model, optimizer)
    assert {step for _, _, step in writer.seen} == {32, 64, 96}
    thermometer.summary()
    so_far = len(writer.seen)
    assert {step for _, _, step in writer.seen} == {32, 64, 96, STEPS}
    thermometer.close()
    assert len(writer.seen) == so_far  # once a step
    assert {"thermometer/ratio/all", "thermometer/temperature/0.weight"} <= {
        name for name, _, _ in writer.seen
    }
    seen = []
    as_sink(lambda scalars, step: seen.append((scalars, step)))({"a": 1.0}, 3)
    assert seen == [({"a": 1.0}, 3)]
    run = Run()
    as_sink(run)({"thermometer/ratio/all": 1.0}, 3)
    assert run.logged == [{"thermometer/ratio/all": 1.0, "thermometer/step": 3}]
    assert run.axes == [("thermometer/*", "thermometer/step")]


def test_a_short_loop_reaches_the_sink():
    model, seen = network(), []
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    with Thermometer(model, optimizer, sink=lambda scalars, step: seen.append(step)):
        train(model, optimizer)
    assert seen == [STEPS]


def test_a_loop_that_breaks_is_told():
    """A NaN loss, and steps so long that squares overflow: neither "does not move"."""
    for rate, factor in ((0.1, float("nan")), (1e10, 1.0)):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        thermometer = Thermometer(model, optimizer, every=1)
        for t in range(40):
            optimizer.zero_grad()
            (factor * loss(model, INPUTS[t])).backward()
            optimizer.step()
        row = thermometer.summary().total
        assert row.verdict == BROKEN
        assert np.isnan(row.ratio.value)


def test_a_wrapped_optimizer():
    class Wrapper:
        """As those of Accelerate and Fabric."""

        def __init__(self, optimizer):
            self.optimizer = optimizer

    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    thermometer = Thermometer(model, Wrapper(optimizer), every=1)
    train(model, optimizer, range(5))
    assert thermometer.steps == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_lightning():
    lightning = pytest.importorskip("lightning.pytorch", reason="needs Lightning: pip install lightning")
    from heatbath.torch import LightningThermometer

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = network()

        def training_step(self, batch, _):
            return loss(self.network, batch[0])

        def configure_optimizers(self):
            return OPTIMIZERS["sgd"](self.parameters())

    def fit(callback, module, epochs):
        data = torch.utils.data.TensorDataset(INPUTS.reshape(-1, 6)[:256])
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accumulate_grad_batches=2,
            gradient_clip_val=LIMIT,
            callbacks=[callback],
            accelerator="cpu",
            **dict.fromkeys(quiet, False),
        )
        trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=16))

    with pytest.raises(Refused, match="not started"):
        LightningThermometer().summary()
    callback, watched, bare = LightningThermometer(every=1, batch_size=16), Module(), Module()
    fit(callback, watched, 6)
    fit(lightning.Callback(), bare, 6)
    assert same(watched, bare)
    row = callback.summary().total
    assert np.isfinite(row.virial_temperature.value)
    assert row.noise_scale.value > 0
    again = LightningThermometer(every=1)
    again.load_state_dict(callback.state_dict())
    fit(again, Module(), 1)
    assert again.thermometer.steps == 7 * 8
    fit(again, Module(), 1)  # what was restored once is not restored again
    assert again.thermometer.steps == 8
    with pytest.raises(TypeError, match="evry"):
        LightningThermometer(evry=3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
def test_hugging_face(tmp_path):
    transformers = pytest.importorskip(
        "transformers", reason="needs transformers: pip install transformers accelerate"
    )
    pytest.importorskip("accelerate", reason="needs accelerate: pip install accelerate")
    from heatbath.torch import TrainerThermometer

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, x, labels=None):
            return {"loss": loss(self.network, x)}

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 256

        def __getitem__(self, i):
            return {"x": INPUTS.reshape(-1, 6)[i]}

    def fit(callback, limit, accumulated=1):
        model = Model()
        arguments = transformers.TrainingArguments(
            str(tmp_path),
            num_train_epochs=6,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=accumulated,
            max_grad_norm=limit,
            lr_scheduler_type="constant",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        callbacks = [] if callback is None else [callback]
        optimizers = (OPTIMIZERS["sgd"](model.parameters()), None)
        transformers.Trainer(
            model, arguments, train_dataset=Data(), optimizers=optimizers, callbacks=callbacks
        ).train()
        return model

    for limit, refused in ((0.0, False), (LIMIT, True)):
        callback = TrainerThermometer(every=1)
        watched, bare = fit(callback, limit), fit(None, limit)
        assert same(watched, bare)
        summary = callback.thermometer.statistics().summary(discard=0)
        assert summary.observations == 96
        assert ("clipped" in summary.total.virial_temperature.reason) == refused
    callback = TrainerThermometer(every=1, micro_batches=True)
    fit(callback, 0.0, accumulated=4)
    found = callback.thermometer.statistics().summary(discard=0).total.noise_scale
    assert found.ess > 8
    assert found.value > 0
    with pytest.raises(Refused, match="max_grad_norm=0"):
        fit(TrainerThermometer(micro_batches=True), LIMIT)
    with pytest.raises(TypeError, match="evry"):
        TrainerThermometer(evry=3)


class Quadratic(torch.nn.Module):
    """theta.H.theta/2 with noisy gradients; H diagonal from 0.1 to 1."""

    def __init__(self):
        super().__init__()
        self.far = torch.nn.Parameter(torch.full((10,), 30.0, dtype=torch.float64))
        self.near = torch.nn.Parameter(torch.full((10,), 30.0, dtype=torch.float64))
        self.curvature = torch.linspace(0.1, 1, 20, dtype=torch.float64)
        self.noise = torch.Generator().manual_seed(0)

    def forward(self):
        theta = torch.cat([self.far, self.near])
        noise = torch.randn(20, generator=self.noise, dtype=torch.float64)
        return (self.curvature * theta**2).sum() / 2 + noise @ theta


def test_the_rate_is_lowered_once_training_is_stationary():
    """The same decisions as `Schedule` fed by hand; a rate is not lowered while the slowest mode, 50 steps
    long, still comes down from 30. A checkpoint goes on alike."""
    model = Quadratic()
    groups = [{"params": [model.far], "lr": 0.2}, {"params": [model.near], "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    scheduler = ReduceLROnStationarity(optimizer, factor=0.5, window=256)
    rates = []
    for t in range(20_000):
        if t == 10_000:
            state = scheduler.state_dict()
            scheduler.close()
            scheduler = ReduceLROnStationarity(optimizer, factor=0.5, window=256)
            scheduler.load_state_dict(json.loads(json.dumps(state)))
        optimizer.zero_grad()
        model().backward()
        optimizer.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    rates = np.array(rates)
    assert np.argmax(rates[:, 0] < 0.2) > np.log(30) / (0.2 * 0.1)
    assert rates[-1, 0] <= 0.05
    np.testing.assert_allclose(rates[:, 0], 2 * rates[:, 1])
    assert scheduler.last_test is not None
    with pytest.raises(Refused, match="no trainable parameter"):
        ReduceLROnStationarity(torch.optim.SGD([torch.zeros(2)], lr=0.1))
