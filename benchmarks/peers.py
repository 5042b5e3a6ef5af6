"""The peers of robot_arm.py: plain NumPy, and BlackJAX and NumPyro on the same posterior.

BlackJAX and NumPyro sample all coordinates jointly, the log precisions with the weights, from the energy that
heatbath itself uses (`RegressionNetwork.energy`: items last, gradient by JAX), in float32 with 64-bit numbers
off, their best precision. They start where heatbath's warm-up ended, so that none is stuck in a bad mode, and
pay their chains' share of its annealing. Their own warm-up counts, compilation does not. ``gradients`` is for
all chains together.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc.integrators import isokinetic_mclachlan
from numpyro.infer import NUTS

from heatbath.core.numeric import unravel
from heatbath.learning.draws import Draws
from heatbath.learning.fit import network
from heatbath.learning.phases import POSTERIOR
from heatbath.learning.problem import Problem
from heatbath.learning.settings import Settings
from heatbath.systems import RegressionNetwork

SAVES = 2_000  # of each chain


@dataclass(frozen=True)
class Sampled:
    """What a sampler gave and took; ``cpu`` in seconds of the process, ``compile_cpu`` apart."""

    name: str
    draws: Draws
    cpu: float
    compile_cpu: float
    gradients: int


def numpy_gradient(x: np.ndarray, y: np.ndarray, prior: dict[str, Any], noise: np.ndarray) -> Callable:
    """Energy of a two-layer tanh network and its gradient in the weights, in plain NumPy.

    ``x`` (n, features), ``y`` (n, outputs); ``prior``: precisions of w1, b1, w2, b2, shaped to multiply them;
    ``noise``: precisions of the targets. The energy is minus the unnormalised log posterior of the weights.
    """

    def energy_and_gradient(w1, b1, w2, b2):
        a = np.tanh(x @ w1 + b1)
        error = a @ w2 + b2 - y
        pull = error * noise
        back = (pull @ w2.T) * (1 - a * a)
        p1, q1, p2, q2 = prior["w1"] * w1, prior["b1"] * b1, prior["w2"] * w2, prior["b2"] * b2
        energy = (pull * error).sum() + (p1 * w1).sum() + (q1 * b1).sum() + (p2 * w2).sum() + (q2 * b2).sum()
        return energy / 2, {
            "w1": x.T @ back + p1,
            "b1": back.sum(axis=0) + q1,
            "w2": a.T @ pull + p2,
            "b2": pull.sum(axis=0) + q2,
        }

    return energy_and_gradient


def numpy_case(problem: Problem, settings: Settings, draws: Draws) -> tuple[float, float]:
    """CPU seconds of one gradient (of 4,000), and its distance from JAX's, as a share of the largest entry.

    At the last draw of the first replica; JAX's is that of `RegressionNetwork.energy` in float64.
    """
    to = problem.standardisation
    x, y = to.inputs(problem.inputs), to.targets(problem.targets)
    weights = [{k: layer[k][0, -1].astype(float) for k in "wb"} for layer in draws.weights]
    log_precision, log_noise = (-2 * np.log(a[0, -1].astype(float)) for a in (draws.scale, draws.noise))
    precision, features, width = np.exp(log_precision), x.shape[1], weights[1]["w"].shape[0]
    prior = {
        "b1": precision[0],
        "w1": precision[1 : 1 + features, None],
        "b2": precision[1 + features],
        "w2": precision[2 + features] * width,
    }
    gradient = numpy_gradient(x, y, prior, np.exp(log_noise))
    at = (weights[0]["w"], weights[0]["b"], weights[1]["w"], weights[1]["b"])

    priors = (settings.weight_prior, settings.noise_prior)
    posterior = RegressionNetwork(x, y, settings.hidden, settings.activation, *priors, dtype="float64")
    position = {"weights": tuple(weights), "log_precision": log_precision, "log_noise": log_noise}
    position = jax.tree.map(jnp.asarray, position)
    exact = jax.grad(lambda w: posterior.energy({**position, "weights": w}, {}))(position["weights"])
    mine = gradient(*at)[1]
    pairs = [(mine[f"{k}{i + 1}"], np.asarray(exact[i][k])) for i in range(2) for k in "wb"]
    error = max(np.abs(a - b).max() for a, b in pairs) / max(np.abs(b).max() for _, b in pairs)

    began = time.process_time()
    for _ in range(4_000):
        gradient(*at)
    return (time.process_time() - began) / 4_000, float(error)


class Posterior:
    """The posterior of ``problem`` as a log density of one flat float32 vector."""

    def __init__(self, problem: Problem, settings: Settings):
        self.settings, self.standardisation = settings, problem.standardisation
        self.network = network(problem, settings)
        self.like = self.network.init(jax.random.key(0), POSTERIOR)

    def __call__(self, x: jax.Array) -> jax.Array:
        return -self.network.energy(unravel(x, self.like), {})

    def draws(self, samples: Any) -> Draws:
        """From ``samples`` (chains, saves, d)."""
        at = jax.tree.map(np.asarray, jax.vmap(jax.vmap(lambda x: unravel(x, self.like)))(samples))
        scales = [np.exp(-at[name] / 2) for name in ("log_noise", "log_precision")]
        return Draws(at["weights"], *scales, self.settings.activation, self.standardisation)


def all_peers(problem: Problem, settings: Settings, starts: np.ndarray, quick: bool):
    """One `Sampled` after the other. ``starts``: positions (chains, d)."""
    few = 0.2 if quick else 1.0
    with jax.enable_x64(False):
        posterior, starts = Posterior(problem, settings), jnp.asarray(starts, jnp.float32)
        gradients = round(2e6 * few) // len(starts)
        saves = SAVES // 5 if quick else SAVES
        best = mclmc(posterior, gradients, saves, tuning=50_000, diagonal=True)
        plain = mclmc_as_documented(posterior, gradients, saves)
        yield measured("BlackJAX MCLMC, vmapped", posterior, best, starts, together=True)
        yield measured("BlackJAX MCLMC, chains in turn", posterior, best, starts, together=False)
        yield measured("BlackJAX MCLMC as documented", posterior, plain, starts, together=False)
        window = hmc(posterior, *((100, 150, 200) if quick else (300, 700, 500)))
        yield measured("BlackJAX HMC", posterior, window, starts, together=True)
        trees = nuts(posterior, *((100, 100) if quick else (500, 500)))
        yield measured("NumPyro NUTS", posterior, trees, starts, together=False)


def measured(name: str, posterior: Posterior, chain: Callable, starts: jax.Array, together: bool) -> Sampled:
    """``chain(key, start)`` gives samples (saves, d) and how many gradients; all chains in one program."""

    def run(keys, starts):
        return jax.vmap(chain)(keys, starts) if together else jax.lax.map(lambda a: chain(*a), (keys, starts))

    keys = jax.random.split(jax.random.key(1), len(starts))
    began = time.process_time()
    compiled = jax.jit(run).lower(keys, starts).compile()
    ready = time.process_time()
    samples, gradients = jax.block_until_ready(compiled(keys, starts))
    cpu = time.process_time() - ready
    return Sampled(name, posterior.draws(samples), cpu, ready - began, int(np.sum(gradients)))


def mclmc(posterior: Posterior, gradients: int, saves: int, tuning: int, diagonal: bool) -> Callable:
    """BlackJAX's MCLMC, tuned by itself; ``tuning`` is its ``num_steps``, of which it takes about a third."""
    kernel = blackjax.mcmc.mclmc.build_kernel(integrator=isokinetic_mclachlan)

    def chain(key, start):
        init, tune, sample = jax.random.split(key, 3)
        state = blackjax.mcmc.mclmc.init(position=start, logdensity_fn=posterior, rng_key=init)
        state, found, tuned = blackjax.mclmc_find_L_and_step_size(
            mclmc_kernel=kernel,
            num_steps=tuning,
            state=state,
            rng_key=tune,
            logdensity_fn=posterior,
            diagonal_preconditioning=diagonal,
        )
        every = (gradients // 2 - tuned) // saves  # the integrator takes two gradients a step
        method = blackjax.mclmc(posterior, **found._asdict())

        def save(state, key):
            keys = jax.random.split(key, every)
            state, _ = jax.lax.scan(lambda s, k: (method.step(k, s)[0], None), state, keys)
            return state, state.position

        _, samples = jax.lax.scan(save, state, jax.random.split(sample, saves))
        return samples, 2 * (tuned + every * saves)

    return chain


def mclmc_as_documented(posterior: Posterior, gradients: int, saves: int) -> Callable:
    """As BlackJAX's page on MCLMC shows it: no preconditioning, all steps kept and thinned afterwards."""
    kernel = blackjax.mcmc.mclmc.build_kernel(integrator=isokinetic_mclachlan)
    steps = round(gradients / 2 / 1.3)  # tuning takes 0.3 of this on top

    def chain(key, start):
        init, tune, sample = jax.random.split(key, 3)
        state = blackjax.mcmc.mclmc.init(position=start, logdensity_fn=posterior, rng_key=init)
        state, found, tuned = blackjax.mclmc_find_L_and_step_size(
            mclmc_kernel=kernel,
            num_steps=steps,
            state=state,
            rng_key=tune,
            logdensity_fn=posterior,
            diagonal_preconditioning=False,
        )
        _, samples = blackjax.util.run_inference_algorithm(
            rng_key=sample,
            initial_state=state,
            inference_algorithm=blackjax.mclmc(posterior, L=found.L, step_size=found.step_size),
            num_steps=steps,
            transform=lambda state, info: state.position,
        )
        return samples[:: steps // saves], 2 * (tuned + steps)

    return chain


def hmc(posterior: Posterior, warm_up: int, saves: int, length: int) -> Callable:
    """BlackJAX's HMC after its window adaptation."""

    def chain(key, start):
        adapt, sample = jax.random.split(key)
        adaptation = blackjax.window_adaptation(blackjax.hmc, posterior, num_integration_steps=length)
        (state, parameters), _ = adaptation.run(adapt, start, warm_up)
        step = blackjax.hmc(posterior, **parameters).step
        keys = jax.random.split(sample, saves)
        _, samples = jax.lax.scan(lambda s, k: (lambda new: (new, new.position))(step(k, s)[0]), state, keys)
        return samples, (warm_up + saves) * length

    return chain


def nuts(posterior: Posterior, warm_up: int, saves: int) -> Callable:
    """NumPyro's NUTS with its defaults, the loop of its ``MCMC`` written out so that compilation is apart."""

    def chain(key, start):
        kernel = NUTS(potential_fn=lambda x: -posterior(x))
        state = kernel.init(key, warm_up, start, (), {})

        def step(state, _):
            state = kernel.sample(state, (), {})
            return state, (state.z, state.num_steps)

        _, (samples, gradients) = jax.lax.scan(step, state, None, warm_up + saves)
        return samples[warm_up:], jnp.sum(gradients)

    return chain
