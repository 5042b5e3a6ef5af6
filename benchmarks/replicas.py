"""Many replicas of full-gradient Langevin dynamics: heatbath against the bare gradient and BlackJAX.

    python benchmarks/replicas.py [--json] [--rounds N]

One process, one core; CPU microseconds a step of all replicas together, compilation apart, in interleaved
rounds. Each system is sampled through `simulate` with SGLD on all the data, the ledger of energies on and
nothing stored but the energies at the end. "floor" is the same compiled loop with the gradient alone, without
noise; BlackJAX is its Langevin step in a compiled loop, vmapped, in single precision with 64-bit numbers off.
All move float32 positions by the same step; before a time is given, what heatbath and BlackJAX sample is
compared with the exact variance (Gaussian) or with each other (logistic regression).
"""

import argparse
from collections.abc import Callable

from common import Cases, interleaved

# isort: split
# the process is confined to one core before JAX starts
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.sgmcmc.diffusions import overdamped_langevin

from heatbath.core import Constant, Control, System, simulate
from heatbath.dynamics import SGLD
from heatbath.systems import HarmonicTrap, Posterior

REPLICAS = (1, 16, 256, 1024)
DIMENSION, ITEMS, FEATURES = 16, 1_000, 25
CONTROLS = {
    "Gaussian": Control(1.0, {"stiffness": 1.0, "centre": 0.0}),
    "logistic regression": Control(1.0),
}
STEPS = {"Gaussian": 0.05, "logistic regression": 2e-3}
COST = {"Gaussian": 0.5, "logistic regression": 10.0}  # microseconds of a step of a replica, about
SECONDS = 2.5  # of a program in a round; a run has about 0.05 of fixed costs


def logistic() -> Posterior:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(ITEMS, FEATURES)).astype(np.float32)
    signs = np.sign(inputs @ rng.normal(size=FEATURES) / 2 + rng.logistic(size=ITEMS)).astype(np.float32)
    return Posterior(
        lambda w: -jnp.sum(w * w) / 2,
        lambda w, x, y: jax.nn.log_sigmoid(y * (x @ w)),
        lambda key: jnp.zeros(FEATURES, jnp.float32),
        (jnp.asarray(inputs), jnp.asarray(signs)),
    )


def positions(system: System, replicas: int) -> jax.Array:
    size = DIMENSION if isinstance(system, HarmonicTrap) else FEATURES
    return jnp.zeros((replicas, size), jnp.float32)


def ours(name: str, system: System, replicas: int) -> Callable[[int], np.ndarray]:
    def run(steps: int) -> np.ndarray:
        found = simulate(
            system,
            SGLD(STEPS[name]),
            Constant(CONTROLS[name]),
            key=0,
            replicas=replicas,
            steps=steps,
            every=steps,
            observers={},
            positions=positions(system, replicas),
            progress=False,
        )
        return np.asarray(found.position)

    return run


def loop(name: str, system: System, replicas: int, noisy: bool) -> Callable[[int], np.ndarray]:
    """A compiled loop: BlackJAX's Langevin step, or the gradient alone."""
    h, couplings = STEPS[name], CONTROLS[name].couplings
    with jax.enable_x64(False):
        single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), system)
        fixed = {key: jnp.asarray(value, jnp.float32) for key, value in couplings.items()}
        gradient = jax.grad(lambda x: -single.energy(x, fixed))
        langevin = overdamped_langevin()

        def one(key, x):
            g = gradient(x)
            return langevin(key, x, g, jnp.float32(h)) if noisy else x + jnp.float32(h) * g

        @jax.jit
        def program(key, x, steps):
            def body(_, carry):
                key, x = carry
                if not noisy:
                    return key, jax.vmap(one, (None, 0))(key, x)
                key, use = jax.random.split(key)
                return key, jax.vmap(one)(jax.random.split(use, replicas), x)

            return jax.lax.fori_loop(0, steps, body, (key, x))[1]

    def run(steps: int) -> np.ndarray:
        with jax.enable_x64(False):
            start = jnp.asarray(positions(system, replicas), jnp.float32)
            return np.asarray(program(jax.random.key(1), start, steps))

    return run


def check(name: str, system: System) -> None:
    """Variance of 1,024 replicas, exact (step 0.05: 1/(1 - h/2)) or of one another, within five errors."""
    a, b = (run(3_000) for run in (ours(name, system, 1024), loop(name, system, 1024, True)))
    errors = [x.var(axis=0) * np.sqrt(2 / len(x)) for x in (a, b)]
    if name == "Gaussian":
        expected = 1 / (1 - STEPS[name] / 2)
        z = max(np.abs((x.var(axis=0) - expected) / e).max() for x, e in zip((a, b), errors, strict=True))
    else:
        z = np.abs((a.var(axis=0) - b.var(axis=0)) / np.hypot(*errors)).max()
    assert z < 5, f"{name}: a variance is {z:.1f} errors off"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases = Cases()
    for name, system in (("Gaussian", HarmonicTrap(DIMENSION)), ("logistic regression", logistic())):
        check(name, system)
        for replicas in REPLICAS:
            steps = max(20, int(SECONDS * 1e6 / COST[name] / replicas))
            programs = {
                "ours": ours(name, system, replicas),
                "floor": loop(name, system, replicas, False),
                "BlackJAX": loop(name, system, replicas, True),
            }
            taken = interleaved({key: (run, steps) for key, run in programs.items()}, options.rounds)
            case = f"{name}, {replicas} replicas"
            cases.add(case, taken["ours"], taken["BlackJAX"], "BlackJAX", 1.0)
            limit = 1 / 1.25 if name != "Gaussian" and replicas == REPLICAS[-1] else None
            cases.add(case, taken["ours"], taken["floor"], "gradient alone", limit)
    cases.print(options.json)


if __name__ == "__main__":
    main()
