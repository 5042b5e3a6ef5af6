"""Images that are no digits, to see whether a model of digits notices: garments, noise. No JAX."""

import numpy as np

from heatbath.errors import Refused

GARMENTS: dict[str, list[list[tuple[float, float]]]] = {  # polygons in the unit square, y downwards
    "trousers": [
        [(0.3, 0.1), (0.7, 0.1), (0.75, 0.92), (0.56, 0.92), (0.5, 0.35), (0.44, 0.92), (0.25, 0.92)]
    ],
    "shirt": [
        [(0.32, 0.15), (0.68, 0.15), (0.7, 0.88), (0.3, 0.88)],
        [(0.34, 0.15), (0.1, 0.45), (0.2, 0.55), (0.36, 0.38)],
        [(0.66, 0.15), (0.9, 0.45), (0.8, 0.55), (0.64, 0.38)],
    ],
    "dress": [[(0.4, 0.08), (0.6, 0.08), (0.58, 0.4), (0.8, 0.92), (0.2, 0.92), (0.42, 0.4)]],
    "boot": [[(0.3, 0.12), (0.6, 0.12), (0.6, 0.55), (0.9, 0.68), (0.9, 0.85), (0.3, 0.85)]],
    "bag": [
        [(0.14, 0.4), (0.86, 0.4), (0.9, 0.88), (0.1, 0.88)],
        [
            (0.3, 0.4),
            (0.36, 0.18),
            (0.64, 0.18),
            (0.7, 0.4),
            (0.63, 0.4),
            (0.58, 0.25),
            (0.42, 0.25),
            (0.37, 0.4),
        ],
    ],
}
FINENESS = 3  # points across a pixel


def garments(n: int, side: int, seed: int) -> np.ndarray:
    """Silhouettes of clothes, bags and boots, (n, side, side), from 0 to 1: each at random scaled, sheared,
    shifted and filled with its own brightness. Raises `Refused` for no images or no pixels."""
    rng = _generator(n, side, seed)
    ticks = (np.arange(side * FINENESS) + 0.5) / (side * FINENESS)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    shapes = list(GARMENTS.values())
    images = np.empty((n, side, side))
    for image in images:
        warp = np.diag(rng.uniform(0.85, 1.2, 2)) + rng.uniform(-0.15, 0.15, (2, 2))
        warped = (points - 0.5 - rng.uniform(-0.06, 0.06, 2)) @ warp + 0.5
        filled = np.any([_inside(warped, p) for p in shapes[rng.integers(len(shapes))]], axis=0)
        image[:] = _coarse(filled, side) * rng.uniform(0.6, 1.0)
    return images


def noise(n: int, side: int, seed: int) -> np.ndarray:
    """Independent pixels, uniform from 0 to 1, (n, side, side). Raises as `garments`."""
    return _generator(n, side, seed).random((n, side, side))


def rotated(images: np.ndarray) -> np.ndarray:
    """``images`` (n, side, side), turned by a quarter."""
    return np.rot90(images, axes=(1, 2))


def _generator(n: int, side: int, seed: int) -> np.random.Generator:
    if n < 1 or side < 1:
        raise Refused(f"{n} images of {side} x {side} pixels: ask for at least 1 of each")
    return np.random.default_rng(seed)


def _inside(points: np.ndarray, polygon: list[tuple[float, float]]) -> np.ndarray:
    """By the number of edges that a ray to the right crosses."""
    x, y = points[..., 0], points[..., 1]
    found = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if y0 != y1:
            found ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found


def _coarse(filled: np.ndarray, side: int) -> np.ndarray:
    return filled.reshape(side, FINENESS, side, FINENESS).mean(axis=(1, 3))
