"""What a thermometer costs in somebody's loop: PyTorch and JAX, perceptrons of 1e5 and 2.7e5 weights.

    python benchmarks/thermometer.py [--json] [--rounds N]

One process, one core. The loop (SGD with momentum, cross-entropy, batches of 128) runs bare and with a
thermometer at the default cadence and at every step, 20 steps at a time in random order; ``ours`` and
``peer`` are the medians of CPU seconds a step, ``overhead`` in the remark the median of the quotients within
a round. ``ratio`` = allowed overhead/overhead, so that 1 and more is met. "bit-identical": the number of
parameters that differ at the end between a bare run and one with a thermometer, which must be 0. PyTorch's
loop is eager; JAX's is run in both of the usual ways, one compiled step a call and a compiled scan over the
steps.
"""
# ruff: noqa: E402  (the process is confined to one core before the libraries start)

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise, product

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from heatbath.optax import thermometer
from heatbath.torch import Thermometer

MODELS = {"101,770 weights": (784, 128, 10), "269,322 weights": (784, 256, 256, 10)}
BATCH, STEPS = 128, 20
RATE, MOMENTUM = 0.05, 0.9
CADENCES = {"default cadence": ({}, 1.05), "every step": ({"every": 1}, 1.15)}

Widths = tuple[int, ...]
Loop = Callable[[], None]
Weights = Callable[[], list[np.ndarray]]


def data(widths: Widths) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(STEPS, BATCH, widths[0])).astype(np.float32)
    return inputs, rng.integers(0, widths[-1], (STEPS, BATCH))


def torch_loop(widths: Widths, options: dict | None) -> tuple[Loop, Weights]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts = [part for a, b in pairwise(widths) for part in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    model = torch.nn.Sequential(*parts[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    if options is not None:
        Thermometer(model, optimizer, **options)
    inputs, labels = map(torch.from_numpy, data(widths))

    def loop() -> None:
        for x, y in zip(inputs, labels, strict=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    return loop, lambda: [p.detach().numpy().copy() for p in model.parameters()]


def jax_loop(widths: Widths, options: dict | None, scan: bool) -> tuple[Loop, Weights]:
    optimizer = optax.sgd(RATE, momentum=MOMENTUM)
    if options is not None:
        optimizer = thermometer(optimizer, learning_rate=RATE, **options)
    rng = np.random.default_rng(1)
    params = [
        {"w": jnp.asarray(rng.normal(size=(a, b)) / a**0.5, jnp.float32), "b": jnp.zeros(b)}
        for a, b in pairwise(widths)
    ]
    inputs, labels = map(jnp.asarray, data(widths))
    batches = list(zip(inputs, labels, strict=True))

    def loss(params, x, y):
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        logits = x @ params[-1]["w"] + params[-1]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(carry, batch):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, *batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    one = jax.jit(lambda carry, batch: step(carry, batch)[0])
    many = jax.jit(lambda carry: jax.lax.scan(step, carry, (inputs, labels))[0])
    carry = params, optimizer.init(params)

    def loop() -> None:
        nonlocal carry
        if scan:
            carry = many(carry)
        else:
            for batch in batches:
                carry = one(carry, batch)
        jax.block_until_ready(carry)

    return loop, lambda: [np.asarray(leaf) for leaf in jax.tree.leaves(carry[0])]


LOOPS: dict[str, Callable[[Widths, dict | None], tuple[Loop, Weights]]] = {
    "torch": torch_loop,
    "JAX, a call a step": lambda widths, options: jax_loop(widths, options, False),
    "JAX, scan": lambda widths, options: jax_loop(widths, options, True),
}


def cases(rounds: int) -> list[dict]:
    found = []
    for (model, widths), (framework, make) in product(MODELS.items(), LOOPS.items()):
        made = [make(widths, None), *(make(widths, options) for options, _ in CADENCES.values())]
        loops, weights = [loop for loop, _ in made], [read for _, read in made]
        seconds = timed(loops, rounds)
        bare = statistics.median(seconds[0])
        for i, (cadence, (_, allowed)) in enumerate(CADENCES.items(), start=1):
            name = f"{framework}, {model}, {cadence}"
            overhead = statistics.median(a / b for a, b in zip(seconds[i], seconds[0], strict=True))
            spent, ratio = statistics.median(seconds[i]), allowed / overhead
            remark = f"overhead {overhead:.3f}, allowed {allowed}"
            found.append(case(name, spent, bare, "the bare loop", "CPU s a step", ratio, remark))
            pairs = zip(weights[0](), weights[i](), strict=True)
            differ = sum(int((a != b).sum()) for a, b in pairs)
            remark = f"{differ} parameters differ after {STEPS * (rounds + 1)} steps"
            same = float(differ == 0)
            found.append(case(f"{name}, bit-identical", differ, 0, "limit", "parameters", same, remark))
    return found


def timed(loops: list[Loop], rounds: int) -> list[list[float]]:
    """CPU seconds a step of each loop in each round, after one round to compile and warm up."""
    order, rng = list(range(len(loops))), random.Random(0)
    seconds: list[list[float]] = [[] for _ in loops]
    for done in range(rounds + 1):
        rng.shuffle(order)
        for i in order:
            began = time.process_time()
            loops[i]()
            if done:
                seconds[i].append((time.process_time() - began) / STEPS)
    return seconds


def case(name: str, ours: float, peer: float, peer_name: str, unit: str, ratio: float, remark: str) -> dict:
    names = ("case", "ours", "peer", "peer_name", "unit", "ratio", "target", "remark")
    found = dict(zip(names, (name, ours, peer, peer_name, unit, ratio, 1.0, remark), strict=True))
    met = "yes" if ratio >= 1 else "NO"
    print(
        f"{name:<68}{ours:>11.4g}{peer:>11.4g}  {ratio:>6.3f}  {met:<4}{remark}", file=sys.stderr, flush=True
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the cases as one JSON object")
    parser.add_argument("--rounds", type=int, default=100, help="of 20 steps with each loop")
    arguments = parser.parse_args()
    found = cases(arguments.rounds)
    if arguments.json:
        print(json.dumps({"cases": found}, indent=1))


if __name__ == "__main__":
    main()
