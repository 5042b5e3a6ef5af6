"""Temperatures of a stationary training run or sampler, and what follows from them. NumPy; no JAX.

Arrays have the leading axes (replicas, samples). The unit of a temperature is that of the energy whose
gradient is given: for a mean loss over n examples multiply by n to get kT of the posterior.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.thermometry import series

SCALE_INVARIANT = 1e-4  # cosine between position and gradient below which a group has no scale


def noise_temperature(trace: Estimate, *, step_size: float, batch_size: int, dimension: int) -> Estimate:
    """eta tr C/(2 d): the temperature at which Langevin dynamics has as much noise as the minibatches.

    ``trace``: tr Sigma, the covariance of the gradients of single examples (`gradient_noise`); C = Sigma/B
    for batches drawn with replacement. The temperature of an SGD on a quadratic is higher by eta tr(H S H)/(2
    d), S its stationary covariance. Source: Mandt, Hoffman and Blei 2017, section 3.
    """
    eta, d = series.positive("step_size", step_size), series.positive("dimension", dimension)
    factor = eta / (2 * d * series.positive("batch_size", batch_size))
    noise = series.estimated("trace", trace)
    return series.scaled(noise, factor, "Temperature of a bath as noisy as the minibatches are.")


def configurational_temperature(position, gradient, centre=None) -> Estimate:
    """<(theta - centre).grad U>/d; position and gradient of shape (replicas, samples, d);
    further axes are flattened.

    ``centre``: the minimum, shape (d,). Without it <theta.grad U>/d, which is the same at equilibrium for any
    confining energy (virial theorem), but is undefined where theta.grad U = 0 because the energy does not
    depend on the scale of theta (weights before a normalisation): then `reliable` is False. Minibatch
    gradients will do where the batch was drawn independently of theta. Source: Wenzel et al. 2020, appendix
    I.
    """
    x, g = _pair(position, gradient)
    d = x.shape[2]
    if centre is not None:
        x = x - series.coordinates("centre", centre, d)
    virial = np.sum(x * g, axis=2)
    meaning = "Temperature read off the positions: on a quadratic, twice the energy per degree of freedom."
    estimate = series.mean(virial / d, meaning)
    if centre is None:
        lengths = np.linalg.norm(x, axis=2) * np.linalg.norm(g, axis=2)
        if np.median(np.abs(virial)) <= SCALE_INVARIANT * np.median(lengths):
            return series.doubted(estimate, "scale-invariant: theta.grad U = 0, T is undefined")
    return estimate


@dataclass(frozen=True)
class KineticTemperature:
    """``temperature``; the interval in which one reading lies with probability ``level`` at the temperature
    of the bath; and the share of the readings inside it."""

    temperature: Estimate
    interval: tuple[float, float]
    inside: Estimate
    level: float


def kinetic_temperature(momentum, temperature: float, *, mass=1.0, level: float = 0.99) -> KineticTemperature:
    """p^T M^-1 p/d of momenta (replicas, samples, d) **read right after the bath's move** (O of a splitting).

    At the end of a BAOAB step it is lower by h^2 k/(4 m) of T, which is no fault of the sampler.
    ``temperature``: the bath's; its readings are T chi2_d/d. ``mass``: number or (d,). Source: Wenzel et al.
    2020, appendix I.
    """
    p = series.checked("momentum", momentum, trailing=1)
    t, d = series.positive("temperature", temperature), p.shape[2]
    level, m = series.probability("level", level), series.coordinates("mass", mass, d)
    if not (m > 0).all():
        raise Refused("mass has entries that are not above 0")
    readings = np.mean(p**2 / m, axis=2)
    low, high = (float(t * q / d) for q in chi2.interval(level, d))
    inside = series.mean(((readings > low) & (readings < high)).astype(float), f"Should be {level:g}.")
    value = series.mean(readings, "Temperature read off the momenta, which the bath sets directly.")
    return KineticTemperature(value, (low, high), inside, level)


def mode_temperatures(position, gradient, modes, centre=0.0) -> tuple[Estimate, ...]:
    """<v.(theta - centre) v.grad U> for each column v of ``modes`` (d, k): one temperature a mode.

    position, gradient: (replicas, samples, d). On a quadratic of Hessian H the modes are the columns of
    ``numpy.linalg.eigh(H)[1]``, and T_i = h_i S_ii is also the temperature of the fluctuation-dissipation
    theorem of that mode. SGD has as many temperatures as modes; equilibrium has one.
    """
    x, g = _pair(position, gradient)
    v = series.checked("modes", modes, "d, modes")
    if len(v) != x.shape[2]:
        raise Refused(f"modes has shape {v.shape}: give one row for each of the {x.shape[2]} coordinates")
    products = ((x - series.coordinates("centre", centre, x.shape[2])) @ v) * (g @ v)
    return tuple(series.mean(products[..., i], f"Temperature of mode {i}.") for i in range(v.shape[1]))


@dataclass(frozen=True)
class Equipartition:
    """Corrected temperature of each group, and the p-value of "all are at the bath's temperature"."""

    temperatures: dict[str, Estimate]
    p_value: float
    level: float

    @property
    def holds(self) -> bool:
        """False is wrong with probability at most ``level``."""
        return self.p_value > self.level


def equipartition(
    position: Mapping[str, np.ndarray],
    gradient: Mapping[str, np.ndarray],
    temperature: float,
    step_size: float,
    *,
    level: float = 0.05,
) -> Equipartition:
    """Are all groups of an SGLD at the bath's temperature? Exact at any step size.

    position, gradient: name -> (replicas, samples, d_l); the gradient is the one the step used, without the
    injected noise. theta' = theta - eta g + sqrt(2 eta T) xi has at stationarity, for any energy and any
    batch, <theta_l.g_l>/d_l = T + eta <|g_l|^2>/(2 d_l); the last term is subtracted before the comparison
    (without that right samplers are rejected). p-value by Bonferroni over the groups.
    """
    t, eta = series.positive("temperature", temperature), series.positive("step_size", step_size)
    level = series.probability("level", level)

    def corrected(x, g):
        x, g = _pair(x, g)
        readings = np.mean(x * g - eta / 2 * g**2, axis=2)
        return series.mean(readings, "Temperature of the group, without the share that is due to the step.")

    estimates = series.per_group(corrected, position, gradient)
    for name, e in estimates.items():
        if not e.std_error > 0:
            raise Refused(f"group {name} does not vary, or has one sample: leave it out, or give more")
    z = max(abs(e.value - t) / e.std_error for e in estimates.values())
    return Equipartition(estimates, float(min(1.0, 2 * norm.sf(z) * len(estimates))), level)


def heat_capacity(energy, temperature: float) -> Estimate:
    """Var(U)/T^2 in units of k_B; energies (replicas, samples) of the full data at the sampled points.

    A quadratic mode adds 1/2: twice the heat capacity is the effective number of parameters. Compare it at
    small steps: an unadjusted step heats the modes.
    """
    u, t = series.checked("energy", energy), series.positive("temperature", temperature)
    squares = (u - u.mean()) ** 2
    bias = 1 - 1 / max(series.effective_size(u), 2.0)  # of a variance about the sample's own mean
    return series.scaled(
        series.mean(squares),
        1 / (t**2 * bias),
        "Heat capacity: half the number of directions that the energy confines.",
    )


def variance_flatness(position, modes, width) -> Estimate:
    """psi of the relation sigma_i^2 ~ F_i^-psi between variance and flatness along the modes.

    position (replicas, samples, d), modes (d, k), width F (k,), from `heatbath.theory.stationary.flatness` or
    measured. Least squares on
    logarithms; the error comes from the series of all modes together. Equilibrium has psi = -2, noise like
    the Hessian psi = 0. Source: Feng and Tu 2021.
    """
    x = series.checked("position", position, trailing=1)
    v, f = series.checked("modes", modes, "d, modes"), series.checked("width", width, "modes")
    if v.shape != (x.shape[2], len(f)) or len(f) < 2 or not (f > 0).all() or np.ptp(f) == 0:
        raise Refused(
            f"modes {v.shape} and width {f.shape}: give 2 or more modes of different widths above 0"
        )
    squares = ((x - x.mean(axis=(0, 1))) @ v) ** 2
    variances = squares.mean(axis=(0, 1))
    if not (variances > 0).all():
        raise Refused("position does not vary along some mode: leave that mode out")
    log_width = np.log(f) - np.log(f).mean()
    slope = log_width / np.sum(log_width**2)
    estimate = series.mean(squares @ (slope / variances), "How fast the variance falls with flatness (psi).")
    return series.shifted(estimate, -float(slope @ np.log(variances)))


def _pair(position, gradient) -> tuple[np.ndarray, np.ndarray]:
    x, g = (
        series.checked(name, np.reshape(a, (*np.shape(a)[:2], -1)) if np.ndim(a) > 3 else a, trailing=1)
        for name, a in (("position", position), ("gradient", gradient))
    )
    if x.shape != g.shape:
        raise Refused(f"position {x.shape} and gradient {g.shape} differ in shape")
    return x, g
