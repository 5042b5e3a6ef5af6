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
5. Bias of the unadjusted kernel: hybrid Monte Carlo, which is exact, goes on from every sample of the default
   run, each replica in its frozen metric, for six trajectories, which is more than the predictions
   remember. What then has changed in the posterior means and variances of the 400 outputs and in the noise
   level is the bias. Its rms, without the part that is noise (from the scatter of the 16 replicas; at least a
   tenth of the peer), must be below the rms of the run's Monte Carlo errors. z: rms change over its standard
   error, about 1 without bias.
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
RELAXING, TRAJECTORIES = (0.02, 96, 0.9), 6  # step size, leapfrogs, jitter of the kernel that shows the bias
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
    bias(bench, problem, settings, ours.draws, tuned, inputs)
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


def bias(bench: Bench, problem: Problem, settings: Settings, ours: Draws, tuned: dict, inputs) -> None:
    """What changes when an exact kernel goes on from the samples of ``ours``."""
    stride = 4 if bench.quick else 1
    posterior, starts = network(problem, settings), every_save(ours, stride)
    outputs, noise = (
        [ours.outputs(inputs)[:, ::stride].astype(float)],
        [ours.noise[:, ::stride].astype(float)],
    )
    relaxed, accepted = [], []
    for r, (curvature, position) in enumerate(zip(tuned["curvature"], starts, strict=True)):
        run = simulate(
            posterior,
            Gibbs(HMC(*RELAXING, metric=metric_of(jnp.asarray(curvature), "float32"))),
            Constant(POSTERIOR),
            key=settings.seed + 2_000 + r,
            replicas=len(position["log_noise"]),
            steps=TRAJECTORIES,
            positions=position,
            progress=False,
        )
        relaxed.append(run.position)
        accepted.append(run.means["acceptance"].mean())
    weights = tuple(
        {k: np.stack([np.asarray(p["weights"][i][k]) for p in relaxed]) for k in "bw"}
        for i in range(len(ours.weights))
    )
    outputs.append(replace(ours, weights=weights, noise=noise[0]).outputs(inputs).astype(float))
    noise.append(np.exp([-np.asarray(p["log_noise"], float) / 2 for p in relaxed]))
    print(f"adjusted kernel from every sample: {np.mean(accepted):.0%} accepted", file=sys.stderr)

    mean, variance = outputs[0].mean(axis=(0, 1)), outputs[0].var(axis=(0, 1))
    squares = [(o - mean) ** 2 / variance for o in outputs]
    for what, (before, after) in {
        "means": [o / np.sqrt(variance) for o in outputs],
        "variances": squares,
        "noise": np.log(noise),
    }.items():
        change = (after - before).mean(axis=1)
        z = rms(change.mean(axis=0) / standard_error(change))
        overall = standard_error(change.reshape(len(change), -1).mean(axis=1))
        remark = f"mean change {change.mean():+.4f} +- {overall:.4f}, rms z {z:.2f}"
        error, unit = rms(standard_error(before.mean(axis=1))), "posterior sd" if what == "means" else "share"
        noise2 = rms(standard_error(change)) ** 2
        shift = np.sqrt(max(rms(change.mean(axis=0)) ** 2 - noise2, (error / 10) ** 2))
        bench.add(
            f"bias of the {what}",
            shift,
            error,
            "Monte Carlo error",
            unit,
            1.0,
            remark=remark,
        )


def every_save(draws: Draws, stride: int) -> list[dict]:
    """Of each replica, its saved positions, one of ``stride``, as a network has them."""
    return [
        {
            "weights": tuple(
                {k: jnp.asarray(v[r, ::stride]) for k, v in layer.items()} for layer in draws.weights
            ),
            "log_precision": jnp.asarray(-2 * np.log(draws.scale[r, ::stride])),
            "log_noise": jnp.asarray(-2 * np.log(draws.noise[r, ::stride])),
        }
        for r in range(draws.shape[0])
    ]


def standard_error(of_replicas: np.ndarray) -> np.ndarray:
    """Of the mean over the first axis."""
    return of_replicas.std(axis=0, ddof=1) / np.sqrt(len(of_replicas))


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
