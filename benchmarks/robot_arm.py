"""The robot arm: heatbath's default run against published results, plain NumPy, BlackJAX and NumPyro.

    python benchmarks/robot_arm.py [--json] [--quick]

All in one process on one core; times are CPU seconds of the process, compilation apart. ``ratio`` above 1
means that ours is better, and a case is met when ``ratio >= target`` (no target: for information). Where the
peer is called "limit" it is the number asked for. What is compared:

1. Squared error (summed over both targets, mean over MacKay's 200 test points) of the default run, read back
   from its run folder, with published results and the error of the true function.
2. Share of the test targets in the 90 % intervals: its distance from 0.9, and the largest one allowed.
3. CPU seconds of the whole default run (annealing, sampling, storing), and of 400,000 gradients of the same
   network in plain float64 NumPy (checked against JAX's gradient, timed on 4,000). Compilation: what a first
   short run takes beyond a second one.
4. Effective samples (bulk, Vehtari et al. 2021; median over 200 test points x 2 noiseless outputs) per CPU
   second, warm-up included: ours, and the peers' on the same posterior (peers.py says how they are set up).
5. Bias of the unadjusted kernel: the default run against hybrid Monte Carlo with dense metrics and four times
   the gradients, annealed five times as long with another seed. z is the rms over the 400 outputs of
   difference/standard error, with errors from the scatter of the replicas (16 in each run); for the posterior
   means and variances of the outputs and for the noise level. Without bias it is about 1.
6. Test error of the default run over that of such an adjusted run, on three regenerated data sets.

``--quick``: a fifth of the gradients for the peers, and adjusted runs only as long as ours.
"""
# ruff: noqa: E402  (the process is confined to one core before JAX starts)

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=1"  # as the command line has it
os.environ |= {"JAX_ENABLE_X64": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats

from heatbath.core import Constant, PerReplica, Record, simulate
from heatbath.data import SHIPPED, robot_arm
from heatbath.dynamics import HMC, Gibbs, metric_of
from heatbath.learning.draws import Draws, read_draws
from heatbath.learning.fit import create, fit, network
from heatbath.learning.microcanonical import anneal, equilibrate, freeze
from heatbath.learning.phases import POSTERIOR, InMemory
from heatbath.learning.predict import predict, scores
from heatbath.learning.problem import Problem, regression_problem
from heatbath.learning.settings import Settings
from peers import Sampled, all_peers, numpy_case

PUBLISHED = {
    "published: Neal 1996": 0.00554,
    "published: MacKay 1992, lowest test error": 0.00557,
    "published: MacKay 1992, highest evidence": 0.00573,
    "published: error of the true function": 0.00504,
}
LEAPFROGS, STEP, JITTER = 64, 0.08, 0.95  # of the adjusted run: replicas get stuck without small steps
SAMPLES = Record(lambda seen, _: seen.position)


class Bench:
    """The cases so far."""

    def __init__(self, folder: Path, quick: bool):
        self.folder, self.quick, self.cases = folder, quick, []

    def add(self, case, ours, peer, peer_name, unit, target=None, *, more_is_better=False, remark=""):
        ratio = ours / peer if more_is_better else peer / ours
        names = ("case", "ours", "peer", "peer_name", "unit", "ratio", "target", "remark")
        values = (case, float(ours), float(peer), peer_name, unit, float(ratio), target, remark)
        self.cases.append(dict(zip(names, values, strict=True)))
        print(row(self.cases[-1]), file=sys.stderr, flush=True)

    def run(self, name: str, problem: Problem, settings: Settings) -> tuple[Sampled, dict]:
        """A run as `heatbath learn` makes it, read back from its folder."""
        began = time.process_time()
        with create(self.folder / name, problem, settings) as folder:
            cost = fit(folder, progress=False)
            cpu = time.process_time() - began
            return Sampled(name, read_draws(folder), cpu, 0.0, cost.gradient_evaluations), folder.tuned()

    def adjusted_run(
        self, name: str, problem: Problem, settings: Settings, gradients: int
    ) -> tuple[Draws, str]:
        """Hybrid Monte Carlo with frozen dense metrics, precisions by Gibbs: exact whatever its settings."""
        settings = replace(settings, seed=settings.seed + 1_000)
        every = 1 if self.quick else 4
        steps = gradients // settings.replicas // LEAPFROGS // every * every
        posterior = network(problem, settings)
        settings = replace(settings, anneal=5 * settings.anneal, equilibrate=5 * settings.equilibrate)
        warm_up = anneal(posterior, settings, InMemory(), False)
        settled = equilibrate(posterior, settings, warm_up, False)
        metrics = [
            metric_of(jnp.asarray(c), "float32") for c in freeze(posterior, warm_up, settled)["curvature"]
        ]
        methods = [Gibbs(HMC(STEP, LEAPFROGS, JITTER, metric=metric)) for metric in metrics]

        with create(self.folder / name, problem, replace(settings, steps=steps, every=every)) as folder:
            run = simulate(
                posterior,
                PerReplica.of(methods),
                Constant(POSTERIOR),
                key=settings.seed,
                replicas=settings.replicas,
                steps=steps,
                every=every,
                observers={"sample": SAMPLES},
                positions=settled.position,
                sink=folder.phase("sample"),
                progress=False,
            )
            accepted = run.means["acceptance"].mean()
            return read_draws(folder), f"{steps} trajectories of each replica, {accepted:.0%} accepted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the cases as one JSON object")
    parser.add_argument(
        "--quick", action="store_true", help="fewer gradients for the peers and adjusted runs"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.quick)
        cases(bench)
    print(json.dumps({"cases": bench.cases}, indent=1) if arguments.json else table(bench.cases))


def cases(bench: Bench) -> None:
    arm, settings = SHIPPED["robot-arm"], Settings()
    problem, test = regression_problem(arm.table("train"), arm.targets, arm.name), arm.table("test")
    inputs, targets = test.select(problem.input_names), test.select(problem.target_names)

    short = replace(settings, steps=1_000)  # one block of records: the program of the whole run
    first, second = bench.run("compiles", problem, short)[0], bench.run("does not", problem, short)[0]
    ours, tuned = bench.run("default", problem, settings)
    score = scores(ours.draws, predict(ours.draws, inputs), inputs, targets)
    error = score["squared_error"]
    bench.add("test error", error, 0.0056, "limit", "squared error", 1.0)
    for name, published in PUBLISHED.items():
        bench.add("test error", error, published, name, "squared error")
    away, remark = abs(score["coverage90"] - 0.9), f"{score['coverage90']:.4f} covered"
    bench.add("coverage of 90 %, distance from it", away, 0.04, "limit", "share", 1.0, remark=remark)

    gradient_cpu, difference = numpy_case(problem, settings, ours.draws)
    assert difference < 1e-5, f"the NumPy gradient is wrong by {difference:.1e}"
    floor, peer = 400_000 * gradient_cpu, "400,000 NumPy gradients"
    remark = (
        f"{ours.gradients:,} gradients; NumPy's {1e6 * gradient_cpu:.1f} us, off JAX's by {difference:.0e}"
    )
    bench.add("default run", ours.cpu, floor, peer, "CPU s", 1.0, remark=remark)
    bench.add("compilation", first.cpu - second.cpu, 15.0, "limit", "CPU s", 1.0)

    rate, about = efficiency(ours, inputs, targets)
    print(f"ours: {about}", file=sys.stderr)
    leaves = sorted(name for name in tuned if name.startswith("position/"))  # JAX's order
    starts = np.concatenate([tuned[name][:4].reshape(4, -1) for name in leaves], axis=1)
    charge = annealing_cpu(problem, settings) * 4 / settings.replicas
    for peer in all_peers(problem, settings, starts, bench.quick):
        peer = replace(peer, cpu=peer.cpu + charge)
        peer_rate, remark = efficiency(peer, inputs, targets)
        target = 2.0 if "MCLMC" in peer.name else 1.0
        unit = "effective samples per CPU s"
        bench.add("efficiency", rate, peer_rate, peer.name, unit, target, more_is_better=True, remark=remark)

    long = ours.gradients * (1 if bench.quick else 4)
    exact, remark = bench.adjusted_run("adjusted", problem, settings, long)
    print(f"adjusted run: {remark}", file=sys.stderr)
    bias(bench, ours.draws, exact, inputs)
    regenerated(bench, problem, settings, long)


def annealing_cpu(problem: Problem, settings: Settings) -> float:
    """CPU seconds of heatbath's annealing, compiled: the peers start where it ended, and pay their share."""
    posterior = network(problem, settings)
    anneal(posterior, settings, InMemory(), False)
    began = time.process_time()
    anneal(posterior, settings, InMemory(), False)
    return time.process_time() - began


def efficiency(sampled: Sampled, inputs: np.ndarray, targets: np.ndarray) -> tuple[float, str]:
    """Effective samples per CPU second; and a remark with R-hat, error and cost."""
    outputs = sampled.draws.outputs(inputs).astype(float)
    flat = outputs.reshape(*outputs.shape[:2], -1)
    ess = float(np.median(array_stats.ess(flat, chain_axis=0, draw_axis=1)))
    mixed = float(np.mean(array_stats.rhat(flat, chain_axis=0, draw_axis=1) < 1.05))
    mean = outputs.mean(axis=(0, 1)) * sampled.draws.standardisation.target_scale
    mean += sampled.draws.standardisation.target_mean
    error = float(((mean - targets) ** 2).sum(axis=1).mean())
    return ess / sampled.cpu, (
        f"{ess:.0f} effective samples, R-hat below 1.05 at {mixed:.0%}, error {error:.5f}, "
        f"{sampled.gradients:,} gradients in {sampled.cpu:.1f} CPU s (compiling {sampled.compile_cpu:.1f})"
    )


def bias(bench: Bench, ours: Draws, exact: Draws, inputs: np.ndarray) -> None:
    a, b = ours.outputs(inputs).astype(float), exact.outputs(inputs).astype(float)
    std = b.std(axis=(0, 1))
    means = z_scores(a.mean(axis=1), b.mean(axis=1))
    variances = z_scores(spread(a), spread(b))
    noise = z_scores(ours.noise.mean(axis=1, dtype=float), exact.noise.mean(axis=1, dtype=float))
    shift = rms((a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / std)
    wider = np.median(a.std(axis=(0, 1)) / std) - 1
    noisier = ours.noise.mean(axis=(0, 1)) / exact.noise.mean(axis=(0, 1)) - 1
    unit = "rms z"
    remarks = (
        f"rms shift {shift:.3f} posterior standard deviations",
        f"median standard deviation {wider:+.2%}",
        "noise " + ", ".join(f"{x:+.2%}" for x in noisier),
    )
    for what, z, remark in zip(
        ("means", "variances", "noise"), (means, variances, noise), remarks, strict=True
    ):
        bench.add(f"bias of the {what}", z, 1.5, "limit", unit, 1.0, remark=remark)


def z_scores(a: np.ndarray, b: np.ndarray) -> float:
    """Rms over all but the first axis of the difference of means over its standard error; replicas first."""
    error2 = a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b)
    return rms((a.mean(axis=0) - b.mean(axis=0)) / np.sqrt(error2))


def spread(outputs: np.ndarray) -> np.ndarray:
    """Mean square of each replica's outputs about the mean of all."""
    return ((outputs - outputs.mean(axis=(0, 1))) ** 2).mean(axis=1)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def regenerated(bench: Bench, problem: Problem, settings: Settings, long: int) -> None:
    ratios = []
    for seed in (1, 2, 3):
        x, y, _ = robot_arm(200, seed)
        inputs, targets, _ = robot_arm(200, seed + 100)
        new = replace(problem, name=f"robot-arm-{seed}", inputs=x, targets=y)
        draws = bench.run(new.name, new, settings)[0].draws
        exact, remark = bench.adjusted_run(f"adjusted-{seed}", new, settings, long)
        errors = [((predict(d, inputs).mean - targets) ** 2).sum(axis=1).mean() for d in (draws, exact)]
        ratios.append(errors[0] / errors[1])
        bench.add(
            f"test error, regenerated set {seed}", *errors, "adjusted run", "squared error", remark=remark
        )
    median = float(np.median(ratios))
    bench.add("error over that of the adjusted run, median", median, 1.02, "limit", "ratio of errors", 1.0)


def row(case: dict) -> str:
    target = "" if case["target"] is None else f">= {case['target']:g}"
    met = "" if not target else "yes" if case["ratio"] >= case["target"] else "NO"
    return (
        f"{case['case']:<47}{case['ours']:>10.4g}{case['peer']:>10.4g}  {case['peer_name']:<42}"
        f"{case['unit']:<29}{case['ratio']:>7.3g}  {target:<7}{met:<4}{case['remark']}"
    )


def table(cases: list[dict]) -> str:
    head = f"{'case':<47}{'ours':>10}{'peer':>10}  {'peer':<42}{'unit':<29}{'ratio':>7}  {'target':<7}met"
    return "\n".join([head, "-" * len(head), *map(row, cases)])


if __name__ == "__main__":
    main()
