"""Constant SGD nearest to the posterior, from measured gradient noise (Mandt, Hoffman and Blei 2017).

NumPy; no JAX. The exact formulas of a known covariance are in `heatbath.theory.mandt`.
"""

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.thermometry import series


def optimal_step(
    trace: Estimate, *, dimension: int, examples: int, batch_size: int, momentum: float = 0.0
) -> Estimate:
    """2 (1 - mu) B d/(N tr Sigma): the step of a mean loss at which SGD samples most like the posterior.

    ``trace``: tr Sigma of single examples (`covariance_trace`, `noise_scale`); ``examples``: N.
    """
    if momentum != 0:
        series.between("momentum", momentum, 1.0, "number from 0 up to 1")
    most = _scale(examples, batch_size) * series.positive("dimension", dimension)
    return _inverse(trace, (1 - momentum) * most, "Step size at which SGD is nearest to the posterior.")


def optimal_momentum(
    trace: Estimate, *, step_size: float, dimension: int, examples: int, batch_size: int
) -> Estimate:
    """1 - eta N tr Sigma/(2 B d): the momentum with which ``step_size`` is the optimal one.

    Not reliable below 0, where the step is longer than the optimal one without momentum.
    """
    eta = series.positive("step_size", step_size)
    share = eta / (_scale(examples, batch_size) * series.positive("dimension", dimension))
    noise = series.estimated("trace", trace)
    found = series.scaled(noise, share, "Momentum with which this step size is nearest to the posterior.")
    found = series.shifted(found, 1 - found.value)
    return found if found.value >= 0 else series.doubted(found, "the step is too long: take a shorter one")


def optimal_preconditioner(
    gradients, *, step_size: float, examples: int, batch_size: int
) -> tuple[Estimate, ...]:
    """2 B/(eta N Sigma_kk) of each coordinate k: the diagonal P of theta' = theta - eta P g nearest to the
    posterior. gradients: of n single examples at one point, (n, d)."""
    g = series.checked("gradients", gradients, "examples", 1)
    if len(g) < series.FEWEST_SAMPLES:
        raise Refused(f"{len(g)} examples: give at least {series.FEWEST_SAMPLES}")
    factor = _scale(examples, batch_size) / series.positive("step_size", step_size)
    squares = (g - g.mean(axis=0)) ** 2 * (len(g) / (len(g) - 1))
    if not squares.any(axis=0).all():
        raise Refused("a coordinate of the gradients does not vary: leave it out")
    variances = (series.mean(column[:, None]) for column in squares.T)
    return tuple(_inverse(v, factor, f"Best factor on gradient {k}.") for k, v in enumerate(variances))


def _scale(examples: int, batch_size: int) -> float:
    b, n = series.positive("batch_size", batch_size), series.positive("examples", examples)
    if b > n:
        raise Refused(f"batch_size = {batch_size}: there are {examples} examples; give no more")
    return 2 * b / n


def _inverse(e: Estimate, factor: float, meaning: str) -> Estimate:
    """factor/e, its error to first order."""
    e = series.estimated("trace", e)
    value = factor / series.positive("the gradient noise", e.value)
    return Estimate(value, value * e.std_error / e.value, e.ess, e.reliable, e.reason, meaning)
