"""Fluctuation-dissipation relations for stochastic gradient descent: S. Yaida, ICLR 2019 (arXiv 1810.00004).

Once SGD is stationary, <theta.g> = eta/2 (1 + mu) <|v|^2> for any loss, with v the velocity of momentum mu: a
test of whether training still relaxes, and the moment to lower the learning rate. Here a perceptron of one
hidden layer learns digits (where they are not at hand, the people of a9a), with weight decay; every layer is
tested by itself.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.figure import Figure

from heatbath.core import Constant, Control, Observer, Snapshot, simulate
from heatbath.data import Arrays, dataset
from heatbath.dynamics import SGD, WithReplacement
from heatbath.estimate import Estimate
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.replicas import less, mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLUE, GREEN, GREY, ORANGE, WIDTH, legend_above, styled
from heatbath.systems import Posterior
from heatbath.thermometry import fluctuation_dissipation_relation
from heatbath.thermometry.series import ratio

LAYERS = ("layer 1", "layer 2")
HIDDEN = 16
BATCH = 32
RATE = 0.1  # of the mean loss
DECAY = 0.01
MOMENTUM = 0.9
REPLICAS = 8


def reproduce(job: Job) -> Reproduction:
    data = dataset(*job.either(("mnist-8k", "digits", "a9a"), ("digits", "a9a")))
    system = network(data)
    products = relations(job, system)
    adaptive, constant = (Course(job, data, system, choice) for choice in (True, False))
    claims = [*stationary(products), *scheduled(job, adaptive, constant)]
    figures = {"relation": merging(products["momentum"]), "schedule": courses(adaptive, constant)}
    return Reproduction(claims, figures, f"{data.name}: {data.title}")


def network(data: Arrays) -> Posterior:
    """Softmax of a tanh perceptron; the loss is the negative log likelihood."""
    inputs = pixels(data, data.inputs)
    sizes = (inputs.shape[1], HIDDEN, len(data.classes))

    def initial(key: Array) -> dict[str, dict[str, Array]]:
        keys = jax.random.split(key, len(LAYERS))
        return {
            name: {"w": jax.random.normal(k, (a, b)) / np.sqrt(a), "b": jnp.zeros(b)}
            for name, k, a, b in zip(LAYERS, keys, sizes[:-1], sizes[1:], strict=True)
        }

    return Posterior(_flat, log_likelihood, initial, (inputs, jnp.asarray(data.targets)))


def pixels(data: Arrays, inputs: np.ndarray) -> Array:
    """(n, d), from 0 to 1."""
    return jnp.asarray(inputs.reshape(len(inputs), -1) / data.inputs.max())


def _flat(_: Any) -> Array:
    return jnp.zeros(())


def logits(weights: dict[str, dict[str, Array]], inputs: Array) -> Array:
    first, second = (weights[name] for name in LAYERS)
    hidden = jnp.tanh(inputs @ first["w"] + first["b"][None])
    return hidden @ second["w"] + second["b"][None]


def log_likelihood(weights: Any, inputs: Array, targets: Array) -> Array:
    scores = jax.nn.log_softmax(logits(weights, inputs))
    return jnp.take_along_axis(scores, targets[:, None], axis=1)[:, 0]


class Products(Observer):
    """Per layer theta.u, |u|^2, theta.g and |v'|^2, with u = (theta - theta')/eta, and g and v' what SGD's
    gradient and velocity must have been."""

    rate: Array
    momentum: Array
    nesterov: bool = eqx.field(static=True)

    def init(self, position: Any) -> Any:
        return position, jax.tree.map(jnp.zeros_like, position)

    def __call__(self, carry: Any, seen: Snapshot) -> tuple[Any, Any]:
        before, v, mu = *carry, self.momentum
        u = jax.tree.map(lambda a, b: (a - b) / self.rate, before, seen.position)
        if self.nesterov:
            g = jax.tree.map(lambda u, v: (u - mu**2 * v) / (1 + mu), u, v)
        else:
            g = jax.tree.map(lambda u, v: u - mu * v, u, v)
        new = jax.tree.map(lambda g, v: mu * v + g, g, v)

        def dots(a: Any, b: Any) -> Array:
            return jnp.stack([_dot(a[name], b[name]) for name in LAYERS])

        products = jnp.stack([dots(before, u), dots(u, u), dots(before, g), dots(new, new)])
        return (seen.position, new), products


def _dot(a: Any, b: Any) -> Array:
    return sum(jax.tree.leaves(jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)), jnp.zeros(()))


def train(
    job: Job, system: Posterior, rate: float, steps: int, part: int, nesterov: bool = False, start: Any = None
) -> tuple[np.ndarray, Any]:
    """Products (replicas, steps, 4, layers) and the final weights; ``rate`` and the decay are of the mean
    loss."""
    n = system.n_items
    dynamics = SGD(
        rate / n, WithReplacement(BATCH), momentum=MOMENTUM, weight_decay=DECAY * n, nesterov=nesterov
    )
    run = simulate(
        system,
        dynamics,
        Constant(Control()),
        key=job.key(part),
        replicas=REPLICAS,
        steps=steps,
        observers={"products": Products(jnp.asarray(rate), jnp.asarray(MOMENTUM), nesterov)},
        ledger="off",
        positions=start,
        progress=job.progress(f"SGD at {rate:g}"),
    )
    return run.records["products"], run.position


def relations(job: Job, system: Posterior) -> dict[str, np.ndarray]:
    """Products (replicas, steps, 4, layers) of momentum and of Nesterov; the first quarter is burn-in."""
    steps = job.either(16_000, 6_000)
    return {
        name: train(job, system, RATE, steps, part, nesterov=name == "Nesterov")[0]
        for part, name in enumerate(("momentum", "Nesterov"))
    }


def own_form(products: np.ndarray) -> Estimate:
    """Yaida's ratio, of products (replicas, steps, 4); 1 in the stationary state of momentum."""
    return ratio(products[..., 2], RATE / 2 * (1 + MOMENTUM) * products[..., 3])


def general_form(products: np.ndarray) -> Estimate:
    """<theta.u> over eta/2 <|u|^2>: 1 in every stationary state."""
    return fluctuation_dissipation_relation(products[..., 0], products[..., 1], RATE).ratio


def stationary(products: dict[str, np.ndarray]) -> list[Claim]:
    claims = []
    products = {name: found[:, found.shape[1] // 4 :] for name, found in products.items()}
    for i, layer in enumerate(LAYERS):
        ours = own_form(products["momentum"][..., i])
        claims.append(Claim(f"SGD with momentum, {layer}: <theta.g> over eta/2 (1 + mu) <v.v>", 1.0, ours))
    whole = {name: found.sum(axis=3) for name, found in products.items()}
    text = "SGD with momentum, all weights together: <theta.g> over eta/2 (1 + mu) <v.v>"
    claims.append(Claim(text, 1.0, own_form(whole["momentum"])))
    text = "With Nesterov's momentum the form <theta.u> = eta/2 <u.u>, u the update over eta, holds: ratio"
    claims.append(Claim(text, 1.0, general_form(whole["Nesterov"])))
    text = "There the paper's own form, made for plain momentum, does not: its ratio is above 1"
    return [*claims, Claim(text, 1.0, own_form(whole["Nesterov"]), "at least")]


class Course:
    """A training in segments: rates, training losses and shares of wrong test rows, (segments, replicas)."""

    def __init__(self, job: Job, data: Arrays, system: Posterior, adaptive: bool):
        window, segments = job.either((1_000, 16), (500, 10))
        self.steps, self.rates = window * np.arange(1, segments + 1), []
        losses, errors = [], []
        rate, weights, seen = RATE, None, []
        inputs, targets = pixels(data, data.test_inputs), jnp.asarray(data.test_targets)
        for segment in range(segments):
            products, weights = train(job, system, rate, window, 10 + segment, start=weights)
            self.rates.append(rate)
            losses.append(np.asarray(_loss(weights, *system.data)))
            errors.append(np.asarray(_error(weights, inputs, targets)))
            seen.append(products.sum(axis=3))
            if adaptive and stopped_relaxing(np.concatenate(seen, axis=1), rate):
                rate, seen = rate / 10, []
        self.losses, self.errors = np.stack(losses), np.stack(errors)


def stopped_relaxing(products: np.ndarray, rate: float) -> bool:
    """Whether the later half of the steps at this rate obeys the relation; False where nothing can be said.
    (`heatbath.thermometry.Schedule` is the same for one training.)"""
    late = products[:, products.shape[1] // 2 :]
    test = fluctuation_dissipation_relation(late[..., 0], late[..., 1], rate)
    return test.ratio.reliable and test.stationary


@jax.jit
def _loss(weights: Any, inputs: Array, targets: Array) -> Array:
    return jax.vmap(lambda w: -jnp.mean(log_likelihood(w, inputs, targets)))(weights)


@jax.jit
def _error(weights: Any, inputs: Array, targets: Array) -> Array:
    return jax.vmap(lambda w: jnp.mean(jnp.argmax(logits(w, inputs), axis=1) != targets))(weights)


def scheduled(job: Job, adaptive: Course, constant: Course) -> list[Claim]:
    """Both start alike and see as many examples; compared over the later half of the segments."""

    def gain(ours: np.ndarray, other: np.ndarray) -> Estimate:
        late = slice(len(ours) // 2, None)
        return less(mean(other[late].mean(axis=0)), mean(ours[late].mean(axis=0)))

    drops = exactly(np.log10(RATE / adaptive.rates[-1]))
    text = "The relation finds that training is stationary and divides the rate by ten: how often"
    claims = [Claim(text, 1.0, drops, "at least", source="stated")]
    pays = "Then it pays: {} at the constant rate less that of the schedule"
    loss = gain(adaptive.losses, constant.losses)
    errors = gain(adaptive.errors, constant.errors)
    smoke = "a smoke run is too short to see it"
    return [
        *claims,
        Claim(pays.format("training loss"), 0.0, loss, "at least", source="stated"),
        Claim(
            pays.format("share of wrong test rows"),
            0.0,
            job.either(errors, None),
            "at least",
            source="stated",
            reason=smoke,
        ),
    ]


@styled
def merging(products: np.ndarray) -> Figure:
    """Both sides of the relation, averaged over replicas and steps up to each, as training goes on."""
    sides = {
        r"$\langle\theta\cdot g\rangle$": products[:, :, 2],
        r"$\frac{\eta}{2}\,(1+\mu)\,\langle v\cdot v\rangle$": RATE / 2 * (1 + MOMENTUM) * products[:, :, 3],
    }
    figure = Figure(figsize=(WIDTH, 3.4))
    for axes, i in zip(figure.subplots(1, 2), range(len(LAYERS)), strict=True):
        for (name, values), color in zip(sides.items(), (BLUE, ORANGE), strict=True):
            by_step = values[..., i].mean(axis=0)
            at = np.unique(np.geomspace(10, len(by_step), 200).astype(int))
            total = np.cumsum(np.concatenate([[0], by_step]))
            averages = [(total[n] - total[n // 2]) / (n - n // 2) for n in at]
            axes.plot(at, averages, color=color, label=name, linewidth=1.5)
        axes.axhline(0, color=GREY, linewidth=0.7)
        axes.set(xscale="log", title=LAYERS[i], xlabel="steps")
    figure.axes[0].set_ylabel("mean over the later half of the steps")
    figure.axes[1].legend(loc="upper right")
    return figure


@styled
def courses(adaptive: Course, constant: Course) -> Figure:
    """Training loss and learning rate over the steps, with the schedule and without."""
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2)
    for course, color, name in ((constant, GREY, "constant rate"), (adaptive, GREEN, "schedule")):
        middle, spread = course.losses.mean(axis=1), course.losses.std(axis=1)
        left.fill_between(course.steps, middle - spread, middle + spread, color=color, alpha=0.2, linewidth=0)
        left.plot(course.steps, middle, color=color, label=name)
        right.step(course.steps, course.rates, where="pre", color=color)
    left.set(title="Training loss", xlabel="steps", ylabel="mean over the replicas, and their spread")
    right.set(title="Learning rate", xlabel="steps", yscale="log")
    legend_above(left)
    return figure
