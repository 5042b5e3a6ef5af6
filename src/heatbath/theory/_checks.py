"""Checks of arguments that the theories share: the checked value, or one line that names what is wrong."""

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused


def real(name: str, value: ArrayLike) -> np.ndarray:
    """Real numbers, any shape, NaN and infinities among them."""
    try:
        if np.iscomplexobj(value):
            raise TypeError
        return np.asarray(value, float)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(f"{name} is no array of real numbers, nor a real number: got {short(value)}") from error


def finite(name: str, value: ArrayLike) -> np.ndarray:
    """Finite numbers, any shape."""
    return _finite(name, real(name, value))


def number(name: str, value: ArrayLike) -> float:
    """One finite number."""
    array = finite(name, value)
    if array.ndim:
        raise Refused(f"{name} must be one number, got shape {array.shape}")
    return float(array)


def positive(name: str, value: ArrayLike) -> np.ndarray:
    """Numbers above zero, any shape."""
    array = real(name, value)
    if not np.all(np.isfinite(array) & (array > 0)):
        raise Refused(f"{name} must be positive and finite, got {short(value)}")
    return array


def nonnegative(name: str, value: ArrayLike) -> np.ndarray:
    """Numbers of zero or more, any shape."""
    array = real(name, value)
    if not np.all(np.isfinite(array) & (array >= 0)):
        raise Refused(f"{name} must be zero or positive and finite, got {short(value)}")
    return array


def count(name: str, value: int, least: int = 1) -> int:
    """A whole number of at least ``least``, and no larger than floating-point numbers can count."""
    array = real(name, value)
    if array.ndim or not least <= array <= 2**53 or array % 1:
        raise Refused(f"{name} must be a whole number of at least {least}, got {short(value)}")
    return int(array)


def below_one(name: str, value: float) -> float:
    """A number from 0 up to, but without, 1."""
    share = number(name, value)
    if not 0 <= share < 1:
        raise Refused(f"{name} must be at least 0 and below 1, got {short(value)}")
    return share


def vector(name: str, value: ArrayLike, size: int | None = None) -> np.ndarray:
    """Finite numbers of shape (size,), at least one."""
    array = real(name, value)
    if array.ndim != 1 or array.size == 0 or size not in (None, array.size):
        raise Refused(f"{name} must be a vector of {size or 'any'} numbers, got shape {array.shape}")
    return _finite(name, array)


def square(name: str, value: ArrayLike, size: int | None = None) -> np.ndarray:
    """A finite matrix of shape (size, size)."""
    array = real(name, value)
    if (
        array.ndim != 2
        or array.shape[0] != array.shape[1]
        or array.size == 0
        or size not in (None, len(array))
    ):
        of_size = f" of {size} rows" if size else ""
        raise Refused(f"{name} must be a square matrix{of_size}, got shape {array.shape}")
    return _finite(name, array)


def semidefinite(name: str, value: ArrayLike, size: int | None = None) -> np.ndarray:
    """A symmetric matrix without negative eigenvalues (up to rounding)."""
    array = _symmetric(name, value, size)
    low, high = np.linalg.eigvalsh(array)[[0, -1]]
    if low < -1e-10 * abs(high):
        raise Refused(f"{name} must have no negative eigenvalue; its smallest is {low:.4g}")
    return array


def definite(name: str, value: ArrayLike, size: int | None = None) -> np.ndarray:
    """A symmetric matrix with positive eigenvalues only."""
    array = _symmetric(name, value, size)
    low, high = np.linalg.eigvalsh(array)[[0, -1]]
    if not low > len(array) * np.finfo(float).eps * abs(high):
        raise Refused(
            f"{name} must be positive definite, but has an eigenvalue {low:.4g}: leave flat directions out"
        )
    return array


def _symmetric(name: str, value: ArrayLike, size: int | None) -> np.ndarray:
    array = square(name, value, size)
    if np.abs(array - array.T).max() > 1e-8 * np.abs(array).max():
        raise Refused(f"{name} must be symmetric; give (M + M.T)/2")
    return (array + array.T) / 2


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise Refused(f"{name} has entries that are not finite")
    return array


def short(value: object) -> str:
    """A value as one line of at most 60 characters, for a message."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
