"""Heat and work along training, and what learning costs. NumPy; no JAX.

For loops that keep no ledger: a heatbath run has heat, work and shadow work in its `Ledger`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import entr

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.thermometry import series


@dataclass(frozen=True)
class HeatAndWork:
    """Energies received in a whole run, mean over the replicas; ``heat`` + ``work`` is the change of the
    energy. Heat is all that the steps did: with finite steps the shadow work is in it."""

    heat: Estimate
    work: Estimate


def heat_and_work(before, after) -> HeatAndWork:
    """First law of training, from losses (replicas, steps): ``before`` and ``after`` each step, both under
    the control (data, regulariser, batch) of that step.

    The steps are heat, the moves of the control between them work. Summed losses give energies in kT of the
    posterior.
    """
    u, v = series.checked("before", before), series.checked("after", after)
    if u.shape != v.shape:
        raise Refused(f"before {u.shape} and after {v.shape} differ in shape")
    heat, work = np.sum(v - u, axis=1), np.sum(u[:, 1:] - v[:, :-1], axis=1)
    return HeatAndWork(
        series.mean(heat[:, None], "Energy that the training steps brought in; below 0 where it learns."),
        series.mean(work[:, None], "Energy that changes of data or loss brought in at fixed parameters."),
    )


def medium_entropy(positions, gradients, step_size: float, noise) -> Estimate:
    """Entropy that all the steps of a run gave to the bath, in nats: <sum ln q(theta'|theta)/q(theta|theta')>
    of theta' = theta - eta g(theta) + N(0, noise).

    positions: n + 1 consecutive ones, (replicas, n + 1, d); gradients: the full ones there, same shape.
    ``noise``: covariance of a step, (d, d), or a number: 2 eta T for SGLD, whose heat from the bath is -T
    times this; eta^2 C for SGD, with Gaussian noise of covariance C in the place of the minibatches'. As eta
    goes to 0 it is -(change of energy)/T; the difference is shadow work. Source: Seifert 2005, equation 15,
    in discrete time.
    """
    x = series.checked("positions", positions, trailing=1)
    g = series.checked("gradients", gradients, trailing=1)
    if x.shape != g.shape or x.shape[1] < 2:
        raise Refused(f"positions {x.shape} and gradients {g.shape}: give 2 or more of both, in one shape")
    eta, d = series.positive("step_size", step_size), x.shape[2]
    if np.ndim(noise):
        covariance = series.checked("noise", noise, "d, d")
    else:
        covariance = series.positive("noise", noise) * np.eye(d)
    if covariance.shape != (d, d) or not np.allclose(covariance, covariance.T):
        raise Refused(f"noise has shape {covariance.shape}: give a number or a covariance, ({d}, {d})")
    if not np.linalg.eigvalsh(covariance)[0] > 0:
        raise Refused("noise has no inverse: project on the directions that it reaches")
    root = np.linalg.cholesky(np.linalg.inv(covariance))
    step = np.diff(x, axis=1)
    forward, backward = (step + eta * g[:, :-1]) @ root, (step - eta * g[:, 1:]) @ root
    given = np.sum(backward**2 - forward**2, axis=(1, 2)) / 2
    return series.mean(given[:, None], "Entropy that the run gave to its bath.")


@dataclass(frozen=True)
class LearningEfficiency:
    """``information`` about one label, in nats; ``cost``: entropy change and dissipated heat of one weight,
    in nats; ``efficiency`` = load information/cost, at most 1."""

    information: Estimate
    cost: Estimate
    efficiency: Estimate


def learning_efficiency(correct, entropy_change, dissipated_heat, load: float = 1.0) -> LearningEfficiency:
    """Goldt and Seifert's efficiency of learning, from independent replicas.

    correct: probability that a replica gives a learnt label rightly, or 1 and 0, (replicas,);
    entropy_change: -ln p(w) at the end plus ln p(w) at the start of a weight, dissipated_heat: heat to the
    bath over T, both per weight, (replicas,). ``load``: labels a weight. Source: Goldt and Seifert 2017, PRL
    118, 010601, equation 9.
    """
    names = ("correct", "entropy_change", "dissipated_heat")
    p, entropy, heat = (
        series.checked(name, array, "replicas")
        for name, array in zip(names, (correct, entropy_change, dissipated_heat), strict=True)
    )
    if not p.shape == entropy.shape == heat.shape or len(p) < 2:
        raise Refused(f"correct {p.shape}, entropy {entropy.shape}, heat {heat.shape}: give 2 or more each")
    load, right = series.positive("load", load), p.mean()
    if not (0 < right < 1 and p.min() >= 0 and p.max() <= 1):
        raise Refused(f"correct has mean {right:.3g}: give probabilities, some below 1 and some above 0")
    information = np.log(2) - entr(right) - entr(1 - right)
    learnt = information + np.log(right / (1 - right)) * (p - right)  # linear about the mean
    cost = entropy + heat
    meaning = "Share of what was paid in heat and entropy that was learnt."
    ratio = series.ratio((load * learnt)[:, None], cost[:, None], meaning, of="the cost")
    return LearningEfficiency(
        series.mean(learnt[:, None], "What the weights know of one label, in nats."),
        series.mean(cost[:, None], "What that cost, per weight, in nats."),
        ratio,
    )
