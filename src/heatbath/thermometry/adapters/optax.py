"""A thermometer for JAX training loops: a gradient transformation around the optimizer."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from heatbath.core.numeric import traced
from heatbath.errors import Refused
from heatbath.thermometry.statistics import (
    GRADIENTS_EVERY,
    MOST_BLOCKS,
    QUANTITIES,
    Ceiling,
    Series,
    Statistics,
    micro_batch_estimates,
    observation,
    touch,
)
from heatbath.thermometry.summary import Summary

Labels = Callable[[str], str]
COLUMNS = 128
CEILINGS = slice(1, 7)  # highest, touched and seen, each of the gradients' norms and largest components
SPARE = len(QUANTITIES) - CEILINGS.stop


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ThermometerState:
    """``inner``: the optimizer's own state. The rest is a `Series` in two arrays of fixed shape (each array
    costs time at every call): ``sums`` (blocks + 2, layers, quantities), after the blocks the open one, last
    |theta|^2 after the last observed step and the `CEILINGS`, the same for all layers; ``counts``: steps,
    full blocks, observations in the open one, length of a block. Read it with `read`."""

    inner: Any
    sums: Array
    counts: Array
    layers: tuple[str, ...] = field(metadata={"static": True})
    sizes: tuple[int, ...] = field(metadata={"static": True})
    skipped: tuple[str, ...] = field(metadata={"static": True})

    @property
    def steps(self) -> Array:
        return self.counts[0]


def _added(state: ThermometerState, row: Array, last: Array) -> tuple[Array, Array]:
    """``sums`` and ``counts`` after one more observation, as `Series.add` does it."""
    steps, full, filled, length = state.counts
    blocks, still_open, filled = state.sums[:-2], state.sums[-2] + row, filled + 1
    closed = filled == length
    blocks = blocks.at[full].set(jnp.where(closed, still_open, blocks[full]))
    full = full + closed
    crowded = full == MOST_BLOCKS
    halved = jnp.concatenate([blocks[::2] + blocks[1::2], jnp.zeros_like(blocks[::2])])
    sums = [jnp.where(crowded, halved, blocks), jnp.where(closed, 0.0, still_open)[None], last[None]]
    counts = [steps, full // (1 + crowded), jnp.where(closed, 0, filled), length * (1 + crowded)]
    return jnp.concatenate(sums), jnp.stack(counts)


def thermometer(
    optimizer: optax.GradientTransformation,
    *,
    learning_rate: float | optax.Schedule | None = None,
    weight_decay: float = 0.0,
    labels: Labels | None = None,
    every: int = 20,
) -> optax.GradientTransformationExtraArgs:
    """``optimizer`` with a thermometer around it: the same updates, and `read` of its state gives the
    summary.

    ``learning_rate``: that of ``optimizer``, a number or a function of the step; None reads the one of
    ``optax.inject_hyperparams``. ``weight_decay``: what ``optimizer`` adds to the gradient, times the
    parameters. ``labels``: from a parameter's path, like ``layers/0/weight``, to the row it is counted in; a
    row a leaf by
    default. ``every``: steps from one observed step to the next.

    ``update`` needs ``params``. Given ``micro_gradients``, mean gradients of micro-batches with these as
    leading axis, and ``micro_batch_size``, it measures the noise scale. Raises `Refused` at ``init`` where
    there is no floating-point parameter or no learning rate.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise Refused(f"every is {every!r:.40}: give a whole number of steps, 1 or more")
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise Refused(f"optimizer is {optimizer!r:.60}: give an optax transformation, like optax.sgd(0.1)")
    if not (learning_rate is None or callable(learning_rate) or _positive(learning_rate)):
        raise Refused(
            f"learning_rate is {learning_rate!r:.60}: give a number above 0 or a function of the step"
        )
    if labels is not None and not callable(labels):
        raise Refused(f"labels is {labels!r:.60}: give a function from a parameter's path to its row")
    inner = optax.with_extra_args_support(optimizer)

    def label(path: str) -> str:
        return str(labels(path)) if labels else path

    def rate(state: ThermometerState) -> Any:
        if learning_rate is None:
            found = optax.tree_utils.tree_get_all_with_path(state.inner, "learning_rate", filtering=_is_array)
            if len(found) > 1:
                raise Refused(
                    f"the optimizer has {len(found)} learning rates: put a thermometer around each part of it"
                )
            return found[0][1] if found else None
        return learning_rate(state.steps) if callable(learning_rate) else learning_rate

    def init(params: optax.Params) -> ThermometerState:
        names, rest = _names(params)
        layers = tuple(dict.fromkeys(label(name) for name in names))
        sizes = dict.fromkeys(layers, 0)
        for name, leaf in zip(names, _floating(params, params), strict=True):
            sizes[label(name)] += leaf.size
        Statistics(layers, tuple(sizes.values()))  # refuses a model without parameters
        state = ThermometerState(
            inner.init(params),
            jnp.zeros((MOST_BLOCKS + 2, len(layers), len(QUANTITIES)), float).at[-1, :, 0].set(jnp.nan),
            jnp.array([0, 0, 0, 1]),
            layers,
            tuple(sizes.values()),
            rest,
        )
        if rate(state) is None:
            raise Refused(
                "the learning rate is not known: give thermometer(..., learning_rate=...) the optimizer's"
            )
        return state

    def update(
        updates: optax.Updates,
        state: ThermometerState,
        params: optax.Params | None = None,
        *,
        micro_gradients: Any = None,
        micro_batch_size: int | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, ThermometerState]:
        if params is None:
            raise Refused("the thermometer needs the parameters: call update(gradients, state, params)")
        if (micro_gradients is None) != (micro_batch_size is None):
            raise Refused("give micro_gradients and micro_batch_size together, or neither")
        if micro_batch_size is not None and not _positive(micro_batch_size):
            raise Refused(
                f"micro_batch_size is {micro_batch_size!r:.40}: give the number of examples, 1 or more"
            )
        if micro_gradients is not None and jax.tree.structure(micro_gradients) != jax.tree.structure(params):
            raise Refused("micro_gradients is not like params: give it their structure")
        gradients = updates
        layer_of = [state.layers.index(label(name)) for name in _names(params)[0]]

        def by_layer(values: list[Array]) -> Array:
            sums = [
                [v for v, i in zip(values, layer_of, strict=True) if i == n] for n in range(len(state.layers))
            ]
            return jnp.stack([sum(parts[1:], parts[0]) for parts in sums])

        def observed() -> tuple[Array, Array]:
            position = _floating(params, params)
            again = inner.update(gradients, state.inner, params, **extra)[0]  # cheaper than to keep updates
            change = [-leaf for leaf in _floating(again, params)]
            nothing = jnp.full(len(state.layers), jnp.nan)

            # At every step ``along`` itself tells what |theta|^2 does; else it is needed at each observation.
            squares = by_layer(_dots(position, position)) if every > 1 else None

            def pull() -> list[Array]:
                gradient = _floating(gradients, params)
                largest = jnp.stack([jnp.abs(g).max(initial=0) for g in gradient]).max()
                pairs = [(position, gradient), (gradient, gradient)] + [(position, position)] * (every == 1)
                return [largest, *(by_layer(_dots(*pair)) for pair in pairs)]

            stride = -(-GRADIENTS_EVERY // every)
            read_now = (state.steps + 1) // every % stride == 0
            largest, pull_along, pull_squared, *rest = jax.lax.cond(
                read_now, pull, lambda: [jnp.full(x.shape, jnp.nan, x.dtype) for x in jax.eval_shape(pull)]
            )
            position_squared = rest[0] if squares is None else squares
            signal, noise = nothing, nothing
            if micro_gradients is not None and micro_batch_size is not None:
                signal, noise = map(by_layer, _split(_floating(micro_gradients, params), micro_batch_size))
            along, squared = by_layer(_dots(position, change)), by_layer(_dots(change, change))
            after = (position_squared - 2 * along + squared).astype(float)
            row = observation(
                along,
                squared,
                pull_along,
                pull_squared,
                position_squared,
                signal,
                noise,
                rate(state),
                weight_decay,
                (state.sums[-1, :, 0] - after) / every if every > 1 else jnp.nan,
                xp=jnp,
            )
            ceilings = state.sums[-1, 0, CEILINGS].reshape(3, 2)
            sizes = jnp.stack([jnp.sqrt(pull_squared.sum()), largest])
            known = jnp.concatenate([jnp.ravel(jnp.stack(touch(ceilings, sizes, jnp))), jnp.zeros(SPARE)])
            of_all = jnp.broadcast_to(known, (len(state.layers), known.size))
            last = jnp.concatenate([after[:, None], of_all], axis=1)
            return _added(state, row.astype(float), last)

        due = (state.steps + 1) % every == 0
        sums, counts = jax.lax.cond(due, observed, lambda: (state.sums, state.counts))
        memory = _after(counts[0], state.inner)
        updates, memory = inner.update(gradients, memory, params, **extra)
        return updates, replace(state, inner=memory, sums=sums, counts=counts.at[0].add(1))

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def statistics(state: Any) -> Statistics:
    """The sums in an optimizer's state, wherever in it the thermometer is: to merge with those of other runs.
    With a leading axis (``vmap``), each replica is a run. Raises `Refused` where there is no thermometer."""
    leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, ThermometerState))
    found = [leaf for leaf in leaves if isinstance(leaf, ThermometerState)]
    if len(found) != 1:
        raise Refused(
            f"this state has {len(found)} thermometers: give that of one optimizer with a thermometer"
        )
    mine = found[0]
    total = Statistics(mine.layers, mine.sizes, dict.fromkeys(mine.skipped, "not floating-point numbers"))
    shape = np.shape(mine.sums)[-3:]
    every_sums = np.asarray(mine.sums, float).reshape(-1, *shape)
    for sums, (_, full, filled, length) in zip(every_sums, np.reshape(mine.counts, (-1, 4)), strict=True):
        norm, largest = (Ceiling(*column) for column in sums[-1, 0, CEILINGS].reshape(3, 2).T.tolist())
        series = Series(sums[:full], sums[-2], int(length), int(filled), norm, largest)
        total = total.merge(Statistics(mine.layers, mine.sizes, total.skipped, [series]))
    return total


def read(state: Any) -> Summary:
    """Temperatures, fluctuation-dissipation ratio, noise scale and verdict of each layer, from the state of
    an optimizer with a `thermometer`; prints as a table."""
    return statistics(state).summary()


def _after(count: Array, tree: Any) -> Any:
    """``tree`` itself, which XLA cannot know before it has ``count``, a number that is never negative: what
    is read before may be overwritten in place, and a compiled loop need not copy it at every step."""

    def leaf(x: Any) -> Any:
        return jnp.where(count >= 0, x, jnp.zeros_like(x)) if isinstance(x, jax.Array) and _is_float(x) else x

    return jax.tree.map(leaf, tree)


def relation(params: optax.Params, updates: optax.Updates, learning_rate: Any) -> tuple[Array, Array]:
    """theta.u and |u|^2 of the step that ``updates`` are about to make, over all floating-point parameters:
    what `heatbath.thermometry.Schedule.update` takes. May be used under jit."""
    position, change = _floating(params, params), _floating(updates, params)
    left, right = (sum(_dots(a, change), jnp.zeros(())) for a in (position, change))
    return -left / learning_rate, right / learning_rate**2


def _names(params: Any) -> tuple[list[str], tuple[str, ...]]:
    """Paths of the floating-point leaves, and of the others."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    named = [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]
    return [n for n, x in named if _is_float(x)], tuple(n for n, x in named if not _is_float(x))


def _positive(number: Any) -> bool:
    """As far as it is known: under jit it is not."""
    try:
        return traced(number) or float(number) > 0
    except (TypeError, ValueError):
        return False


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _floating(tree: Any, params: Any) -> list[Array]:
    """The leaves of ``tree`` where ``params``, of the same structure, has floating-point numbers."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True)
    return [jnp.asarray(leaf) for leaf, parameter in pairs if _is_float(parameter)]


def _is_array(path: Any, value: Any) -> bool:
    """Not the state of a schedule, which `optax.inject_hyperparams` keeps under the same name."""
    return isinstance(value, jax.Array)


def _dots(a: list[Array], b: list[Array]) -> list[Array]:
    return [_dot(x, y) for x, y in zip(a, b, strict=True)]


def _dot(a: Array, b: Array) -> Array:
    """a.b as a product with a vector of ones: XLA's own sums are several times slower on a CPU."""
    wide = jnp.promote_types(a.dtype, jnp.float32)
    product = (a.astype(wide) * b.astype(wide)).reshape(-1)
    rows = jnp.pad(product, (0, -product.size % COLUMNS)).reshape(-1, COLUMNS)
    return jnp.sum(jnp.matmul(rows, jnp.ones(COLUMNS, wide), precision=jax.lax.Precision.HIGHEST))


def _split(micro_gradients: list[Array], examples: int) -> tuple[list[Array], list[Array]]:
    """Signal and noise of each leaf, from gradients with the micro-batches as leading axis."""
    counts = {leaf.shape[:1] for leaf in micro_gradients}
    if len(counts) > 1:
        raise Refused(
            f"micro_gradients has leading axes {sorted(counts)}: give as many micro-batches in each"
        )
    k = micro_gradients[0].shape[0]
    if k < 2:
        raise Refused("micro_gradients has one micro-batch: a noise scale needs two or more")
    pairs = []
    for leaf in micro_gradients:
        total = leaf.sum(axis=0)
        pairs.append(micro_batch_estimates(_dot(total, total), _dot(leaf, leaf), k, examples))
    return [signal for signal, _ in pairs], [noise for _, noise in pairs]
