"""Log evidence against the samplers one would otherwise use: rms error^2 x CPU seconds of one run.

    python benchmarks/evidence.py --json
    python benchmarks/evidence.py --quick --problems gauss2 funnel10

Peers, in the same process: BlackJAX's adaptive tempered SMC (1000 particles, 5 HMC moves of 10
leapfrogs in units of the population's spread), its waste-free form (6000), its nested slice sampling (500
live), dynesty, and, where it can be imported, `particles` (waste-free random-walk tempering). Pilots, tuning
and error bars count, compilation does not. One core, float64. A method whose rms is above 1 nat has no merit.

The problems with known answers are ``problems.py`` of the shared folder of checks: HEATBATH_CHECKS, or
``shared/checks`` beside the repository.
"""
# ruff: noqa: NPY002  (the peer `particles` draws from the legacy generator)

import argparse
import contextlib
import importlib.util
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

# isort: split
# the process is confined to one core before JAX starts
import blackjax
import blackjax.smc.resampling as resampling
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.ns.utils import finalise, log_weights
from blackjax.smc import adaptive_tempered
from blackjax.smc.base import update_and_take_last
from blackjax.smc.waste_free import waste_free_smc

from heatbath.learning import evidence
from heatbath.systems import Posterior

TARGETS = dict.fromkeys(
    ["gauss2", "gauss10", "gauss50", "gauss200", "linreg_diabetes", "logreg_cancer"], 10.0
)
TARGETS |= {"welling_teh": 10.0, "spike10": 10.0, "spike10_off": 10.0, "funnel10": 1.0}
NESTED = ("gauss2", "gauss10", "funnel10", "welling_teh", "spike10", "spike10_off")  # others take minutes
Run = Callable[[int], float]


def problems() -> Any:
    beside = Path(__file__).resolve().parents[2] / "shared" / "checks"
    file = Path(os.environ.get("HEATBATH_CHECKS", beside)) / "evidence" / "problems.py"
    if not file.is_file():
        sys.exit(
            "benchmarks/evidence.py needs evidence/problems.py: set HEATBATH_CHECKS to the folder of checks"
        )
    spec = importlib.util.spec_from_file_location("problems", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ours(problem: Any) -> Run:
    nothing = jnp.zeros(1)
    posterior = Posterior(
        lambda x: problem.logprior(x, jnp),
        lambda x, inputs, targets: problem.loglik(x, jnp)[None],
        (draw := sampler(problem)),
        (nothing, nothing),
        sample_prior=draw,
    )

    def run(seed: int) -> float:
        found = evidence(posterior, seed=seed).log_evidence
        return found.value if found.reliable else math.nan

    return run


def sampler(problem: Any) -> Callable[[Any], Any]:
    if problem.prior_sd is not None:
        return lambda key: jnp.asarray(problem.prior_sd) * jax.random.normal(key, (problem.d,))

    def funnel(key):
        z = jax.random.normal(key, (problem.d,))
        return jnp.concatenate([3 * z[:1], jnp.exp(1.5 * z[:1]) * z[1:]])

    return funnel


def tempered(problem: Any, waste_free: bool = False, dense: bool = False) -> Run:
    n, d = (6000 if waste_free else 1000), problem.d
    hmc = blackjax.hmc.build_kernel()

    def move(key, state, logdensity, **parameters):
        return hmc(key, state, logdensity, num_integration_steps=10, **parameters)

    kernel = adaptive_tempered.build_kernel(
        lambda x: problem.logprior(x, jnp),
        lambda x: problem.loglik(x, jnp),
        move,
        blackjax.hmc.init,
        resampling.systematic,
        0.5,
        update_strategy=waste_free_smc(n, 6) if waste_free else update_and_take_last,
    )

    @jax.jit
    def anneal(key, particles):
        def step(carry):
            state, log_z, key = carry
            key, now = jax.random.split(key)
            spread = jnp.cov(state.particles.T) if dense else jnp.var(state.particles, axis=0)
            parameters = {"step_size": jnp.full(1, 0.6 * d**-0.25), "inverse_mass_matrix": spread[None]}
            state, info = kernel(now, state, None if waste_free else 5, parameters)
            return state, log_z + info.log_likelihood_increment, key

        start = adaptive_tempered.init(particles)
        start = start._replace(tempering_param=jnp.zeros(()))
        return jax.lax.while_loop(lambda c: c[0].tempering_param < 1, step, (start, jnp.zeros(()), key))[1]

    def run(seed: int) -> float:
        particles = problem.sample_prior(np.random.default_rng(seed), n)
        return float(anneal(jax.random.key(seed), jnp.asarray(particles)))

    return run


def nested_slices(problem: Any) -> Run:
    algorithm = blackjax.nss(
        lambda x: problem.logprior(x, jnp),
        lambda x: problem.loglik(x, jnp),
        num_inner_steps=max(5, 2 * problem.d),
        num_delete=50,
    )
    init, step = jax.jit(algorithm.init), jax.jit(algorithm.step)

    def run(seed: int) -> float:
        key = jax.random.key(seed)
        live = init(jnp.asarray(problem.sample_prior(np.random.default_rng(seed), 500)))
        dead = []
        while not live.integrator.logZ_live - live.integrator.logZ < -3:
            key, now = jax.random.split(key)
            live, info = step(now, live)
            dead.append(info)
        weights = log_weights(key, finalise(live, dead, update_info=False), 100)
        return float(jnp.mean(jax.nn.logsumexp(weights, axis=0)))

    return run


def dynesty(problem: Any) -> Run:
    import dynesty

    def run(seed: int) -> float:
        generator = np.random.default_rng(seed)
        found = dynesty.NestedSampler(problem.loglik, problem.transform, problem.d, rstate=generator)
        found.run_nested(print_progress=False)
        return float(found.results.logz[-1])

    return run


def random_walk(problem: Any) -> Run:
    import particles
    from particles import distributions, smc_samplers

    class Prior(distributions.ProbDist):
        def rvs(self, size=1):
            return problem.sample_prior(np.random.default_rng(np.random.randint(2**31)), size)

        def logpdf(self, x):
            return problem.logprior(x)

    class Model(smc_samplers.StaticModel):
        def loglik(self, theta, t=None):
            return problem.loglik(theta)

    def run(seed: int) -> float:
        np.random.seed(seed)
        model = Model(data=np.zeros(1), prior=Prior())
        way = smc_samplers.AdaptiveTempering(model, len_chain=10, wastefree=True)
        found = particles.SMC(fk=way, N=200, verbose=False)
        try:
            found.run()
        except np.linalg.LinAlgError:  # 2000 particles whose covariance is singular: no answer, a miss
            return math.nan
        return float(found.logLt)

    return run


def peers(problem: Any) -> dict[str, Run]:
    found = {
        "BlackJAX SMC": tempered(problem),
        "BlackJAX SMC, dense mass": tempered(problem, dense=True),
        "BlackJAX waste-free SMC": tempered(problem, waste_free=True, dense=problem.d < 50),
    }
    if problem.name in NESTED:
        found |= {"BlackJAX nested slice sampling": nested_slices(problem), "dynesty": dynesty(problem)}
    with contextlib.suppress(ImportError):
        found["particles"] = random_walk(problem)
    return found


def merit(run: Run, truth: float, seeds: int) -> tuple[float, str]:
    """rms^2 x CPU seconds (infinite above 1 nat), and a remark. Half as many seeds where a run takes over a
    second, 2 where it takes over 10."""
    first = time.process_time()
    run(10_000)
    first = time.process_time() - first
    errors, seconds = [], []
    seed = 0
    while seed < (seeds if not seconds or seconds[0] < 1 else max(seeds // 3, 2) if seconds[0] < 10 else 2):
        began = time.process_time()
        errors.append(run(seed) - truth)
        seconds.append(time.process_time() - began)
        seed += 1
    rms = math.sqrt(np.mean(np.square(errors)))
    cpu = statistics.median(seconds)
    remark = f"rms {rms:.4g}, {cpu:.3g} s, {seed} seeds, first run {first:.1f} s"
    return (rms**2 * cpu if rms < 1 else math.inf), remark


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument(
        "--quick", action="store_true", help="5 seeds instead of 15, and tempered SMC as the only peer"
    )
    arguments.add_argument("--problems", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    asked = arguments.parse_args()
    cases, known, seeds = common.Cases(), problems(), 5 if asked.quick else 15
    for name in asked.problems:
        problem = known.get(name)
        our, remark = merit(ours(problem), problem.logz, seeds)
        rivals = peers(problem)
        if asked.quick:
            rivals = {peer: run for peer, run in rivals.items() if peer.startswith("BlackJAX SMC")}
        found = {peer: merit(run, problem.logz, seeds) for peer, run in rivals.items()}
        best = min(found, key=lambda peer: found[peer][0])
        remark += "".join(f"; {peer} {x:.3g} ({how})" for peer, (x, how) in found.items())
        add(cases, name, our, found[best][0], best, remark)
    cases.print(asked.json)


def add(cases: common.Cases, name: str, our: float, peer: float, peer_name: str, remark: str) -> None:
    """Where every peer misses, its merit is null and the ratio too."""
    finite = math.isfinite(peer)
    case = {"case": name, "ours": our, "peer": peer if finite else None, "peer_name": peer_name}
    case |= {"unit": "nats^2 CPU s", "ratio": peer / our if finite else None, "target": TARGETS[name]}
    cases.cases.append(case | {"remark": remark})
    ratio = f"{peer / our:.1f} x ahead of {peer_name}" if finite else "every peer misses by over a nat"
    print(f"{name:<16} {our:.3g} nats^2 CPU s, {ratio} (target {TARGETS[name]:g}); {remark}", file=sys.stderr)


if __name__ == "__main__":
    main()
