"""Minibatch schemes: which items, how often, and the covariance of what they average to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from heatbath.core import Constant, Control, simulate
from heatbath.dynamics import SGD, FixedOrder, Reshuffled, Windows, WithReplacement
from heatbath.errors import Refused
from heatbath.systems import HarmonicTrap, Posterior
from heatbath.theory import least_squares

KEY = jax.random.key(5)
Z_LIMIT = float(stats.norm.isf(5e-7))  # two-sided level 1e-6


def rows(scheme, steps, n, key=KEY):
    """Each step's, drawn alone."""
    return np.asarray(jax.vmap(lambda t: scheme.rows(key, t[None], n)[0])(jnp.asarray(steps)))


@pytest.mark.parametrize("n", [12, 600])
@pytest.mark.parametrize("kind", [WithReplacement, Windows, Reshuffled, FixedOrder])
def test_what_is_drawn_does_not_depend_on_how_many_steps_are_drawn_at_once(kind, n):
    together = kind(5).rows(KEY, jnp.arange(37, 101), n)
    assert (np.asarray(together) == rows(kind(5), range(37, 101), n)).all()


@pytest.mark.parametrize("n", [12, 500, 513, 1000])
def test_an_epoch_without_replacement_is_a_permutation(n):
    """By sorting up to 512 items, by a Feistel network above."""
    size = n // 4
    epochs = rows(Reshuffled(size), range(8), n).reshape(2, 4 * size)
    for epoch in epochs:
        assert len(set(epoch)) == 4 * size
        assert epoch.min() >= 0
        assert epoch.max() < n
    assert (epochs[0] != epochs[1]).any()
    assert (rows(Reshuffled(size), range(4), n, jax.random.key(6)).ravel() != epochs[0]).any()


@pytest.mark.parametrize("n", [12, 600])
def test_every_item_is_equally_likely_at_every_place(n):
    """Chi-squared at level 1e-6 for the first place of 6,000 epochs, and for the pair of the first two."""
    size = n // 4
    first = rows(Reshuffled(size), 4 * np.arange(6_000), n)
    for draws, cells in ((first[:, 0], n), ((first[:, 1] - first[:, 0]) % n - 1, n - 1)):
        assert stats.chisquare(np.bincount(draws, minlength=cells)).pvalue > 1e-6


def test_what_does_not_fill_a_minibatch_is_left_out_of_the_epoch():
    seen = rows(Reshuffled(5), range(300), 13).reshape(150, 10)
    assert all(len(set(epoch)) == 10 for epoch in seen)
    assert set(seen.ravel()) == set(range(13))


def test_a_fixed_order_goes_round_for_ever():
    seen = rows(FixedOrder(4), range(6), 10)
    assert (seen.ravel() == np.arange(24) % 10).all()
    late = rows(FixedOrder(4), [2**31, 2**31 + 1], 10)
    assert (late == rows(FixedOrder(4), [2**31 % 5, 2**31 % 5 + 1], 10)).all()


VALUES = np.random.default_rng(2).normal(size=30)


def means(scheme, n=30):
    """Means of VALUES over the minibatches of independent draws (other epochs, other orders)."""
    count = 20_000
    if isinstance(scheme, Windows):
        orders = np.random.default_rng(3).permuted(np.tile(VALUES, (count, 1)), axis=1)
        starts = rows(scheme, range(count), n)
        return np.array(
            [
                np.take(o, range(s, s + scheme.size), mode="wrap").mean()
                for o, s in zip(orders, starts, strict=True)
            ]
        )
    return VALUES[rows(scheme, n // scheme.size * np.arange(count), n)].mean(axis=1)


@pytest.mark.parametrize("scheme", [WithReplacement(4), Windows(4), Reshuffled(4), WithReplacement(1)])
def test_the_correction_is_the_covariance_over_that_of_one_item(scheme):
    squares = (means(scheme) - VALUES.mean()) ** 2
    expected = scheme.correction(30) * VALUES.var()
    assert abs(squares.mean() - expected) < Z_LIMIT * squares.std() / np.sqrt(len(squares))


@pytest.mark.teeth
def test_the_wrong_correction_is_caught():
    """Between drawing 4 of 30 with and without replacement lie 10 %."""
    squares = (means(WithReplacement(4)) - VALUES.mean()) ** 2
    wrong = Reshuffled(4).correction(30) * VALUES.var()
    assert abs(squares.mean() - wrong) > 5 * squares.std() / np.sqrt(len(squares))


INPUTS = np.random.default_rng(7).normal(size=(20, 2))
TARGETS = INPUTS @ [1.0, -1.0] + np.random.default_rng(8).normal(size=20)


def regression(order=slice(None)):
    return Posterior(
        lambda w: jnp.zeros(()),
        lambda w, x, y: -((x @ w - y) ** 2) / 2,
        lambda key: jnp.linalg.lstsq(jnp.asarray(INPUTS), jnp.asarray(TARGETS))[0],
        (jnp.asarray(INPUTS[order]), jnp.asarray(TARGETS[order])),
    )


def second_moment(batches, step, system=None, orders=4_000):
    """<|w - w*|^2> of SGD, with its error from the scatter of stretches of 100 steps, 2 % of it or less."""
    period = 100
    system = system or regression()
    run = simulate(
        system,
        SGD(step / 20, batches),
        Constant(Control(1.0)),
        key=1,
        replicas=32,
        steps=period * orders,
        every=4,
        ledger="off",
        progress=False,
    )
    away = run.records["position"] - np.linalg.lstsq(INPUTS, TARGETS)[0]
    blocks = (away**2).sum(axis=2).mean(axis=0).reshape(orders, -1)[20:].mean(axis=1)
    error = blocks.std() / np.sqrt(len(blocks))
    assert error < 0.02 * blocks.mean()
    return blocks.mean(), error


@pytest.mark.slow
def test_windows_have_the_stationary_state_of_sampling_without_replacement():
    """`Windows` of 5 in 20, shuffled every 25 passes, against the exact second moment at step 0.3, at level
    1e-6; all replicas share the orders, so errors are from the scatter between orders."""
    found, error = second_moment(Windows(5, shuffle=25), 0.3)
    problem = least_squares.least_squares(INPUTS, TARGETS)
    exact = np.trace(least_squares.second_moment(problem, 0.3, 5, replacement=False))
    assert abs(found - exact) < Z_LIMIT * error


@pytest.mark.slow
@pytest.mark.teeth
def test_windows_of_sorted_data_that_are_never_shuffled_are_caught():
    """Neighbours alike: the minibatches then average less away than random ones do."""
    order = np.argsort(TARGETS - INPUTS @ np.linalg.lstsq(INPUTS, TARGETS)[0])
    found, error = second_moment(Windows(5, shuffle=10**6), 0.3, _InOrder.of(regression(order)), 1_000)
    problem = least_squares.least_squares(INPUTS, TARGETS)
    exact = np.trace(least_squares.second_moment(problem, 0.3, 5, replacement=False))
    assert abs(found - exact) > 5 * error


class _InOrder(Posterior):
    """Shuffling does nothing."""

    @classmethod
    def of(cls, posterior):
        return cls(**vars(posterior))

    def reordered(self, order):
        return Posterior.reordered(self, jnp.arange(order.size) % self.n_items)


def test_bad_minibatches_are_refused():
    def run(system, batches):
        control = Control(1.0, {"stiffness": 1.0, "centre": 0.0})
        simulate(system, SGD(1e-3, batches), Constant(control), key=0, replicas=2, steps=2, progress=False)

    for size in (0, 21):
        with pytest.raises(Refused, match=f"a minibatch of {size} from 20 items: give 1 to 20"):
            run(regression(), WithReplacement(size))
    with pytest.raises(Refused, match="batches is 5: give a scheme"):
        run(regression(), 5)
    with pytest.raises(Refused, match="no data items"):
        run(HarmonicTrap(2), Windows(5))
