"""SGD, SGLD and Gaussian chains on quadratics, simulated in NumPy from their exact stationary state."""

import numpy as np
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import norm

H = np.array([[1.0, 0.3], [0.3, 0.5]])
C = np.array([[0.4, -0.2], [-0.2, 0.9]])


def stationary(step, noise):
    """Covariance of x' = step x + N(0, noise)."""
    return solve_discrete_lyapunov(step, noise)


def chain(step, noise, replicas, samples, seed, hot=1.0):
    """(replicas, samples, d), from the stationary state with its covariance times ``hot``."""
    rng = np.random.default_rng(seed)
    kick = np.linalg.cholesky(noise).T
    x = rng.standard_normal((replicas, len(step))) @ np.linalg.cholesky(hot * stationary(step, noise)).T
    out = np.empty((samples, replicas, len(step)))
    for t in range(samples):
        out[t] = x
        x = x @ step.T + rng.standard_normal(x.shape) @ kick
    return out.swapaxes(0, 1)


def sgd(hessian, covariance, eta, replicas, samples, seed, hot=1.0):
    """Iterates of theta' = theta - eta (H theta + N(0, C))."""
    return chain(np.eye(len(hessian)) - eta * hessian, eta**2 * covariance, replicas, samples, seed, hot)


def assert_close(estimate, exact, false_alarm=1e-5):
    """Within the normal quantile of its standard error; reliable, and its error not 0."""
    assert estimate.reliable, estimate.reason
    assert estimate.std_error > 0
    z = (estimate.value - exact) / estimate.std_error
    assert abs(z) < norm.isf(false_alarm / 2), f"{estimate} is {z:.1f} standard errors from {exact:.6g}"
