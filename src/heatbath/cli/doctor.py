"""`heatbath doctor`: versions, devices, and a self-check of the arithmetic."""

import platform
from functools import partial

import click

from heatbath._version import __version__
from heatbath.cli.answer import CHECK_FAILED, answer, common

GUARD_ROWS = (20_000, 32_769)


@click.command("doctor", short_help="Check versions, devices and the arithmetic of this installation.")
@common
def command(as_json: bool, quiet: bool) -> int:
    """Say what this installation is made of, and whether it computes right (about 5 seconds)."""
    import equinox
    import jax
    import numpy
    import scipy

    from heatbath.cli.sampling import prepare

    prepare()
    versions = {
        "heatbath": __version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "equinox": equinox.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    }
    devices = [str(device) for device in jax.devices()]
    checks = {name: check() for name, check in CHECKS.items()}
    wrong = [name for name, complaint in checks.items() if complaint]
    verdict = "all checks passed" if not wrong else "failed: " + ", ".join(wrong)
    lines = [f"{name:10s} {value}" for name, value in versions.items()]
    lines += [f"{'device':10s} {device}" for device in devices]
    lines += [
        f"{'ok' if not complaint else 'WRONG':10s} {name} {complaint}" for name, complaint in checks.items()
    ]
    result: dict = {"versions": versions, "devices": devices, "checks": checks, "verdict": verdict}
    if wrong:
        result["exit"] = CHECK_FAILED
    answer(result, [*lines, verdict], as_json=as_json, quiet=quiet)
    return CHECK_FAILED if wrong else 0


def matrix_vector() -> str:
    """jit(vmap(matrix @ vector -> sum)) against NumPy: wrong in JAX 0.10.2 and 0.11.0 on CPU."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    for dtype in ("float32", "float64"):
        for rows in GUARD_ROWS:
            matrix = np.asarray([[2.0, 0.5], [0.5, 1.0]], dtype)
            product = jax.jit(jax.vmap(partial(_summed_product, jnp.asarray(matrix))))
            vectors = np.random.default_rng(0).normal(size=(rows, 2)).astype(dtype)
            got = product(vectors)
            wrong = int(np.sum(np.abs(np.asarray(got) - (vectors @ matrix).sum(axis=1)) > 1e-4))
            if wrong:
                return f"{wrong} of {rows} rows wrong in {dtype}: this JAX miscomputes, install jax==0.10.1"
    return ""


def _summed_product(matrix, vector):
    return (matrix @ vector).sum()


def ledger() -> str:
    """A dragged and heated trap: the first law and the work identity."""
    import numpy as np

    from heatbath.core import Control, Linear, simulate
    from heatbath.dynamics import OverdampedLangevin
    from heatbath.systems import HarmonicTrap

    trap = HarmonicTrap(2)
    start = Control(1.0, {"stiffness": 1.0, "centre": 0.0})
    end = Control(1.5, {"stiffness": 1.2, "centre": 0.5})
    run = simulate(
        trap,
        OverdampedLangevin(0.2),
        Linear(start, end, 5),
        key=0,
        replicas=20_000,
        steps=6,
        observers={},
        progress=False,
    )
    assert run.ledger is not None
    residual = float(np.abs(run.ledger.residual()).max())
    if residual > 1e-12:
        return f"the first law is violated by {residual:.1e}"
    weights = np.exp(-np.asarray(run.ledger.reduced_work))
    expected = float(np.exp(trap.log_partition(end) - trap.log_partition(start)))
    z = (weights.mean() - expected) / (weights.std() / len(weights) ** 0.5)
    return f"the work identity is off by {z:.1f} standard errors" if abs(z) > 5 else ""


CHECKS = {
    "matrix times vector, many rows": matrix_vector,
    "ledger and work identity": ledger,
}
