"""The noise of minibatch gradients: its size, shape and tails. NumPy; no JAX.

Sigma is the covariance of the gradients of single examples of a mean loss L; a batch of B drawn with
replacement has the noise C = Sigma/B. Per-example gradients mean nothing with batch normalisation, and
clipped or scaled gradients make every number here wrong: undo that first.
"""

from dataclasses import dataclass

import numpy as np

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.thermometry import series

FEWEST_MICRO_BATCHES = 32  # of a single sample: a jackknife over fewer makes its error too small


@dataclass(frozen=True)
class NoiseScale:
    """``gradient``: |G|^2 (or G^T H G), ``noise``: tr Sigma (or tr(H Sigma)), ``scale``: noise over
    gradient."""

    gradient: Estimate
    noise: Estimate
    scale: Estimate


def noise_scale(means, batch_size: int) -> NoiseScale:
    """Simple noise scale tr Sigma/|G|^2 from k micro-batches: the batch size beyond which averaging helps
    little.

    means: mean gradients of the micro-batches, (replicas, samples, k, d), k at least 2, the samples at the
    same parameters or along a run that hardly moves. ``batch_size``: examples in one micro-batch. Numerator
    and denominator are unbiased and averaged before they are divided. The error is by the delta method over
    the samples; of a single sample by the jackknife over its micro-batches. Source: McCandlish et al. 2018,
    appendix A.
    """
    means = series.checked("means", means, "replicas, samples, micro-batches", 1)
    return _scale(
        means, means, batch_size, "Batch size at which gradient noise and gradient are equally large."
    )


def hessian_noise_scale(means, products, batch_size: int) -> NoiseScale:
    """Noise scale tr(H Sigma)/(G^T H G) weighted by the Hessian, with which the best step size is
    eps_max/(1 + scale/B), eps_max = |G|^2/(G^T H G).

    ``products``: H times each of ``means``, same shape (`hessian.hessian_vector_product`). Source: McCandlish
    et al. 2018, equations 2.5 to 2.8.
    """
    means = series.checked("means", means, "replicas, samples, micro-batches", 1)
    products = series.checked("products", products, "replicas, samples, micro-batches", 1)
    if means.shape != products.shape:
        raise Refused(f"means {means.shape} and products {products.shape} differ in shape")
    return _scale(means, products, batch_size, "Batch size at which the noise halves the best step's gain.")


def _scale(means: np.ndarray, products: np.ndarray, batch_size: int, meaning: str) -> NoiseScale:
    b, k = series.positive("batch_size", batch_size), means.shape[2]
    if k < 2:
        raise Refused("means holds one micro-batch a sample: give 2 or more")
    gradient, noise = _unbiased(means, products, b)
    if gradient.size > 1:
        estimates = series.mean(gradient), series.mean(noise), series.ratio(noise, gradient, of="|G|^2")
    else:
        estimates = _jackknife(means[0, 0], products[0, 0], b)
    size, trace, scale = (_with(e, m) for e, m in zip(estimates, (_GRADIENT, _NOISE, meaning), strict=True))
    if not size.value > series.RESOLVED * size.std_error:
        scale = series.doubted(
            scale, "the gradient is not resolved from its noise: give more or larger batches"
        )
    return NoiseScale(size, trace, scale)


_GRADIENT = "Squared length of the full gradient, without the noise of the batches."
_NOISE = "Noise of one example's gradient, summed over the parameters."


def _with(e: Estimate, meaning: str) -> Estimate:
    return Estimate(e.value, e.std_error, e.ess, e.reliable, e.reason, meaning)


def _unbiased(means: np.ndarray, products: np.ndarray, b: float) -> tuple[np.ndarray, np.ndarray]:
    """G.HG and tr(H Sigma) from the last two axes (k, d)."""
    k = means.shape[-2]
    of_sums = np.sum(means.sum(axis=-2) * products.sum(axis=-2), axis=-1)
    of_each = np.sum(means * products, axis=(-2, -1))
    return (of_sums - of_each) / (k * (k - 1)), b * (of_each - of_sums / k) / (k - 1)


def _jackknife(means: np.ndarray, products: np.ndarray, b: float) -> tuple[Estimate, Estimate, Estimate]:
    """|G|^2, trace and their ratio from one set of micro-batches (k, d)."""
    k = len(means)
    whole = _three(means, products, b)
    if k < 3:
        reason = "a single sample of 2 micro-batches has no error: give 3 or more"
        return tuple(Estimate(float(x), np.nan, k, False, reason) for x in whole)  # type: ignore[return-value]
    without = np.array([_three(np.delete(means, j, 0), np.delete(products, j, 0), b) for j in range(k)])
    errors = np.sqrt((k - 1) / k * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    enough = FEWEST_MICRO_BATCHES
    few = "" if k >= enough else f"the error is from {k} micro-batches: give {enough}, or several samples"
    return tuple(  # type: ignore[return-value]
        Estimate(float(x), float(e), k, not few, few) for x, e in zip(whole, errors, strict=True)
    )


def _three(means: np.ndarray, products: np.ndarray, b: float) -> tuple[float, float, float]:
    gradient, noise = _unbiased(means, products, b)
    return float(gradient), float(noise), float(noise / gradient)


def covariance_trace(gradients) -> Estimate:
    """tr Sigma from gradients of n single examples at one point, (n, d)."""
    g = _examples(gradients)
    squares = np.sum((g - g.mean(axis=0)) ** 2, axis=1) * (len(g) / (len(g) - 1))
    return series.mean(squares[:, None], _NOISE)


def covariance_spectrum(gradients, count: int) -> tuple[Estimate, ...]:
    """The ``count`` largest eigenvalues of Sigma from gradients of single examples, (n, d).

    The eigenvalues of a sample covariance are too large when n is not far above d. Here directions are found
    in every second example and the variance along them is measured in the others, and the other way round:
    never too large on average, for the largest, and too small where the directions are not resolved. Where
    both ways of measuring differ by more than a quarter the estimate is not reliable.
    """
    g = _examples(gradients)
    g = g - g.mean(axis=0)
    halves = g[::2], g[1::2]
    most = min(len(halves[1]) - 1, g.shape[1])
    if not 1 <= series.whole("count", count) <= most:
        raise Refused(f"count = {count}: {g.shape} gradients have between 1 and {most} eigenvalues to show")
    squares, in_sample = [], []
    for fitted, other in (halves, halves[::-1]):
        _, size, directions = np.linalg.svd(fitted - fitted.mean(axis=0), full_matrices=False)
        in_sample.append(size[:count] ** 2 / (len(fitted) - 1))
        spread = ((other - other.mean(axis=0)) @ directions[:count].T) ** 2
        squares.append(spread * (len(other) / (len(other) - 1)))
    plug_in, held_out = np.mean(in_sample, axis=0), np.concatenate(squares)
    found = []
    for i in range(count):
        estimate = series.mean(held_out[:, i : i + 1], f"Noise along principal direction {i}.")
        if plug_in[i] - estimate.value > 0.25 * plug_in[i] + 2 * estimate.std_error:
            estimate = series.doubted(estimate, f"{len(g)} examples do not resolve this direction")
        found.append(estimate)
    return tuple(found)


def alignment(gradients, products, hessian_trace: float) -> Estimate:
    """d tr(H Sigma)/(tr H tr Sigma): 1 where noise is isotropic, above 1 where it is larger along sharp
    modes.

    gradients: of n single examples, (n, d); products: H times each of them. Source: Zhu et al. 2019.
    """
    g, h = _examples(gradients), _examples(products)
    if g.shape != h.shape:
        raise Refused(f"gradients {g.shape} and products {h.shape} differ in shape")
    g, h = g - g.mean(axis=0), h - h.mean(axis=0)
    along, all_ = np.sum(g * h, axis=1)[:, None], np.sum(g**2, axis=1)[:, None]
    factor = g.shape[1] / series.positive("hessian_trace", hessian_trace)
    meaning = "How much of the noise points along the curved directions."
    return series.ratio(factor * along, all_, meaning, of="the noise")


def _examples(gradients) -> np.ndarray:
    g = series.checked("gradients", gradients, "examples", 1)
    if len(g) < 4:
        raise Refused(f"{len(g)} examples: give at least 4")
    return g


def hill_tail_index(magnitudes, *, share: float = 0.02) -> Estimate:
    """Exponent alpha of P(|x| > s) ~ s^-alpha from the largest ``share`` of magnitudes (replicas, samples).

    Exceedances come in clusters where samples are correlated: the error counts the effective ones. Not
    reliable where the exponent from half of the tail differs by more than 3 errors: no power law, or not yet.
    Sources: Hill 1975; for SGD Gurbuzbalaban, Simsekli and Zhu 2021.
    """
    x = np.abs(series.checked("magnitudes", magnitudes))
    share = series.between("share", share, 0.5, "number between 0 and 0.5")
    count = int(share * x.size)
    largest = np.sort(x.ravel())[::-1]
    if count < 20:
        raise Refused(f"{count} magnitudes in the tail: give at least {int(20 / share) + 1} in all")
    if not largest[count] > 0 or largest[0] == largest[count // 2]:
        raise Refused("the magnitudes in the tail are 0 or all equal: they have no exponent")
    alpha, half = _hill(largest, count), _hill(largest, count // 2)
    above = (x > largest[count]).astype(float)
    clusters = min(1.0, series.effective_size(above) / x.size) if x.shape[1] >= series.FEWEST_SAMPLES else 1.0
    ess = clusters * count
    error = alpha / np.sqrt(ess)
    reason = ""
    if ess < series.ESS_LIMIT:
        reason = f"{ess:.0f} effective exceedances, at least {series.ESS_LIMIT:.0f} are needed"
    elif (
        abs(half - alpha) > 3 * error
    ):  # the half is part of the whole: their difference has error alpha/sqrt(ess)
        reason = f"half of the tail gives {half:.2f}: not a power law at this threshold; try a smaller share"
    return Estimate(
        alpha, float(error), ess, not reason, reason, "Tail exponent; below 2 the variance is infinite."
    )


def _hill(largest: np.ndarray, count: int) -> float:
    return float(1 / np.mean(np.log(largest[:count] / largest[count])))


def stable_tail_index(noise, block: int) -> Estimate:
    """Index of a symmetric alpha-stable law from independent numbers ``noise`` (n,), in sums of ``block``.

    1/alpha = (mean ln|sum| - mean ln|x|)/ln block. **It assumes that the law is exactly stable**: for any
    other it is a number below 2 that falls with heavier shoulders and tells nothing about the tail. Use
    `hill_tail_index` where that is the question. Source: Mohammadi, Mohammadpour and Ogata 2015, used by
    Simsekli et al. 2019.
    """
    x = series.checked("noise", noise, "numbers")
    blocks = len(x) // block if series.whole("block", block) > 1 else 0
    if blocks < 8:
        raise Refused(f"{len(x)} numbers in blocks of {block}: give 8 or more blocks of 2 or more")
    x = x[: blocks * block].reshape(blocks, block)
    if not (np.all(x) and np.all(x.sum(axis=1))):
        raise Refused("noise has zeros, which a stable law does not have")
    readings = np.log(np.abs(x.sum(axis=1))) - np.log(np.abs(x)).mean(axis=1)
    inverse = series.mean(readings[:, None] / np.log(block))
    error = inverse.std_error / inverse.value**2
    meaning = "Index of a stable law, if the noise has one; for other laws it means nothing."
    return Estimate(1 / inverse.value, error, inverse.ess, inverse.reliable, inverse.reason, meaning)
