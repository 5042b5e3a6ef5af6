"""One step of stochastic gradient Langevin dynamics: logistic regression on a9a, heatbath against its peers.

    python benchmarks/sgld.py [--json] [--rounds N]

One process, one core, one chain, float32; CPU microseconds a step, compilation apart, in interleaved rounds.
heatbath runs through `simulate` with its defaults for minibatches (`Windows`), the ledger of energies on, and
the final position stored; so do the peers' loops:

- "BlackJAX": its `sgld` in a compiled loop, indices with replacement, 64-bit numbers off (its best use);
- "BlackJAX as documented": a Python loop over the compiled step;
- "SGMCMCJax": its compiled sampler, which stores every sample;
- "posteriors": a Python loop over its update, in PyTorch.

"ledger" and "store" compare heatbath with itself: energies on against off, every sample stored against none.
Before times are given, the mean test log likelihood of the last half of a run of each compiled program is
compared: they must agree within 0.003, where a temperature wrong by a factor of 2 moves it by about 0.01.
"""
# ruff: noqa: E402  (SGMCMCJax and posteriors need a word before they are imported)

import argparse
import functools
import types
import warnings
from collections.abc import Callable

from common import Cases, interleaved

# isort: split
# the process is confined to one core before JAX starts
import blackjax
import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import torch
from blackjax.sgmcmc.gradients import grad_estimator

from heatbath.core import Constant, Control, simulate
from heatbath.data import dataset
from heatbath.dynamics import SGLD, Windows
from heatbath.systems import Posterior

jax.experimental.host_callback = types.SimpleNamespace(id_tap=None)  # SGMCMCJax imports it, and needs it not
from sgmcmcjax.samplers import build_sgld_sampler

warnings.simplefilter("ignore")
import posteriors

DATA = dataset("a9a")
INPUTS, SIGNS = DATA.inputs.astype(np.float32), (2 * DATA.targets - 1).astype(np.float32)
TEST_INPUTS, TEST_SIGNS = DATA.test_inputs, 2 * DATA.test_targets - 1
N, FEATURES = INPUTS.shape
STEP = 1e-5
TARGETS = {10: 3.0, 100: 1.7, 1000: 1.8}
STEPS = {10: 300_000, 100: 100_000, 1000: 15_000}  # heatbath's and BlackJAX's; a few tenths of a second

Run = Callable[[int], object]


def log_prior(w):
    return -jnp.sum(w * w) / 2


def log_likelihood(w, x, y):
    return jax.nn.log_sigmoid(y * (x @ w))


POSTERIOR = Posterior(
    log_prior,
    log_likelihood,
    lambda key: jnp.zeros(FEATURES, jnp.float32),
    (jnp.asarray(INPUTS), jnp.asarray(SIGNS)),
)


def heatbath(batch: int, store: bool = False, ledger: str = "energy") -> Run:
    def run(steps: int) -> np.ndarray:
        found = simulate(
            POSTERIOR,
            SGLD(STEP, Windows(batch)),
            Constant(Control(1.0)),
            key=0,
            replicas=1,
            steps=steps,
            every=1 if store else steps,
            ledger=ledger,
            progress=False,
        )
        return found.records["position"][0]

    return run


def blackjax_loop(batch: int, store: bool = False) -> Run:
    with jax.enable_x64(False):
        inputs, signs = jnp.asarray(INPUTS), jnp.asarray(SIGNS)
        estimate = grad_estimator(log_prior, lambda w, items: log_likelihood(w, *items), N)
        step = blackjax.sgld(estimate).step

        def advance(carry, _):
            key, w = carry
            key, pick, noise = jax.random.split(key, 3)
            items = jax.random.randint(pick, (batch,), 0, N)
            w = step(noise, w, (inputs[items], signs[items]), jnp.float32(STEP))
            return (key, w), w if store else None

        @functools.partial(jax.jit, static_argnums=1)
        def program(key, steps):
            return jax.lax.scan(advance, (key, jnp.zeros(FEATURES)), length=steps)

    def run(steps: int) -> np.ndarray:
        with jax.enable_x64(False):
            (_, w), stored = program(jax.random.key(0), steps)
            return np.asarray(stored if store else w)

    return run


def blackjax_documented(batch: int) -> Run:
    with jax.enable_x64(False):
        estimate = grad_estimator(log_prior, lambda w, items: log_likelihood(w, *items), N)
        step = jax.jit(blackjax.sgld(estimate).step)

    def run(steps: int) -> np.ndarray:
        with jax.enable_x64(False):
            key, w, rng = jax.random.key(0), jnp.zeros(FEATURES), np.random.default_rng(0)
            for _ in range(steps):
                key, use = jax.random.split(key)
                items = rng.integers(0, N, batch)
                w = step(use, w, (INPUTS[items], SIGNS[items]), STEP)
            return np.asarray(w)

    return run


def sgmcmcjax(batch: int) -> Run:
    with jax.enable_x64(False):
        data = jnp.asarray(INPUTS), jnp.asarray(SIGNS)
        sampler = build_sgld_sampler(STEP, log_likelihood, log_prior, data, batch, pbar=False)

    def run(steps: int) -> np.ndarray:
        with jax.enable_x64(False):
            return np.asarray(sampler(jax.random.PRNGKey(0), steps, jnp.zeros(FEATURES)))

    return run


def posteriors_loop(batch: int) -> Run:
    torch.set_num_threads(1)
    inputs, signs = torch.from_numpy(INPUTS), torch.from_numpy(SIGNS)

    def log_posterior(w, items):
        x, y = items
        scale = N / len(y)
        return scale * torch.nn.functional.logsigmoid(y * (x @ w)).sum() - (w @ w) / 2, torch.empty(0)

    transform = posteriors.sgmcmc.sgld.build(log_posterior, lr=STEP)

    def run(steps: int) -> np.ndarray:
        torch.manual_seed(0)
        state = transform.init(torch.zeros(FEATURES))
        for _ in range(steps):
            items = torch.randint(0, N, (batch,))
            state, _ = transform.update(state, (inputs[items], signs[items]))
        return state.params.detach().numpy()

    return run


def check(batch: int = 100, steps: int = 20_000) -> None:
    programs = {
        "heatbath": heatbath(batch, store=True),
        "BlackJAX": blackjax_loop(batch, store=True),
        "SGMCMCJax": sgmcmcjax(batch),
    }
    found = {}
    for name, run in programs.items():
        samples = np.asarray(run(steps))[steps // 2 :: 50].astype(float)
        margins = TEST_SIGNS[:, None] * (TEST_INPUTS @ samples.T)
        found[name] = -np.logaddexp(0, -margins).mean()
    spread = max(found.values()) - min(found.values())
    assert spread < 0.003, f"the programs do not sample the same: {found}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    check()
    cases = Cases()
    for batch, target in TARGETS.items():
        steps = STEPS[batch]
        programs = {
            "ours": (heatbath(batch), steps),
            "BlackJAX": (blackjax_loop(batch), steps),
            "SGMCMCJax": (sgmcmcjax(batch), steps // 2),
            "BlackJAX as documented": (blackjax_documented(batch), 1_000),
            "posteriors": (posteriors_loop(batch), 200),
            "off": (heatbath(batch, ledger="off"), steps),
            "store": (heatbath(batch, store=True), steps),
        }
        taken = interleaved(programs, options.rounds)
        for peer in ("BlackJAX", "BlackJAX as documented", "SGMCMCJax", "posteriors"):
            asked = target if peer == "BlackJAX" else None
            cases.add(f"batch {batch}", taken["ours"], taken[peer], peer, asked)
        cases.add(f"batch {batch}, energies on", taken["ours"], taken["off"], "ledger off", 1 / 1.05)
        stored, none = taken["store"], taken["ours"]
        cases.add(f"batch {batch}, every sample stored", stored, none, "none stored", 1 / 1.1)
    cases.print(options.json)


if __name__ == "__main__":
    main()
