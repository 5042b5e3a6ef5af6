"""Minibatches from the host: the same run as from memory, resumed bit for bit, stopped at a bad minibatch."""

from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Constant, Control, Diverged, simulate
from heatbath.dynamics import SGLD, FixedOrder
from heatbath.errors import Refused
from heatbath.systems import Posterior

N, SIZE = 60, 5
RNG = np.random.default_rng(3)
INPUTS = RNG.normal(size=(N, 2)).astype(np.float32)
TARGETS = RNG.normal(size=N).astype(np.float32)


def posterior(rows=N, total=None):
    return Posterior(
        lambda w: -jnp.sum(w * w) / 2,
        lambda w, x, y: -((y - x @ w) ** 2) / 2,
        lambda key: jax.random.normal(key, (2,), jnp.float32),
        (jnp.asarray(INPUTS[:rows]), jnp.asarray(TARGETS[:rows])),
        total=total,
    )


class Ordered:
    """The rows in their order, for ever; ``spoiled``: the step of a minibatch with a NaN in it."""

    n_items = N

    def __init__(self, spoiled=None, end=None):
        self.spoiled, self.end = spoiled, end

    def __call__(self, step):
        return islice(self._all(step), None if self.end is None else max(self.end - step, 0))

    def _all(self, step):
        while True:
            rows = (step * SIZE + np.arange(SIZE)) % N
            x, y = INPUTS[rows], TARGETS[rows]
            yield x * np.nan if step == self.spoiled else x, y
            step += 1


def run(stream, steps=200, **options):
    options = {"system": posterior(), "key": 1, "replicas": 3, "progress": False} | options
    return simulate(
        options.pop("system"),
        SGLD(2e-3, options.pop("batches", None)),
        Constant(Control(1.0)),
        steps=steps,
        stream=stream,
        **options,
    )


def test_a_stream_is_the_same_run_as_from_memory():
    """The rows of a fixed order: positions agree to the rounding of 200 float32 steps."""
    streamed, held = run(Ordered()), run(None, batches=FixedOrder(SIZE))
    assert np.allclose(streamed.records["position"], held.records["position"], rtol=0, atol=2e-5)
    assert np.isfinite(np.asarray(streamed.ledger.energy_change)).all()


def test_a_sample_stands_for_all_items_in_the_energy():
    """n/12 times the sum over 12 of the items."""
    whole, part = posterior(), posterior(12, total=N)
    assert part.n_items == N
    at = jnp.ones(2, jnp.float32)
    prior = 1.0
    few = float(posterior(12).energy(at, {})) - prior
    assert float(part.energy(at, {})) - prior == pytest.approx(few * N / 12)
    assert run(Ordered(), system=part).records["position"] == pytest.approx(
        run(Ordered(), system=whole).records["position"], abs=1e-5
    )


def test_a_bad_minibatch_stops_the_run_with_its_last_good_state():
    with pytest.raises(Diverged, match="minibatch of step 150: it holds NaN") as stopped:
        run(Ordered(spoiled=150))
    good = run(Ordered(), steps=150)
    assert (np.asarray(stopped.value.run.position) == np.asarray(good.position)).all()
    assert stopped.value.run.steps == 150
    assert stopped.value.run.records["position"].shape[1] == 150


@pytest.mark.parametrize("ledger", ["energy", "path"])
def test_the_ledger_of_a_stopped_run_is_that_of_its_last_good_state(ledger):
    with pytest.raises(Diverged) as stopped:
        run(Ordered(spoiled=150), ledger=ledger)
    end, good = stopped.value.run, run(Ordered(), steps=150, ledger=ledger)
    change = np.asarray(end.ledger.energy_change)
    assert (change == np.asarray(good.ledger.energy_change)).all()
    assert (change != 0).all()
    if ledger == "path":
        assert np.abs(np.asarray(end.ledger.residual())).max() < 1e-9


def test_a_stream_that_ends_or_breaks_says_so():
    with pytest.raises(Diverged, match="the stream ended before step 20"):
        run(Ordered(end=20))
    with pytest.raises(Refused, match="it is empty"):
        run(lambda step: iter(()))

    def breaks(step):
        yield INPUTS[:SIZE], TARGETS[:SIZE]
        raise OSError("disk on fire")

    with pytest.raises(Diverged, match="minibatch of step 1: OSError: disk on fire"):
        run(breaks)

    def shrinks(step):
        yield INPUTS[:SIZE], TARGETS[:SIZE]
        yield INPUTS[:2], TARGETS[:2]

    with pytest.raises(Diverged, match=r"minibatch of step 1: shapes .* differ"):
        run(shrinks)


def test_a_stream_of_no_minibatches_is_refused():
    def broken(step):
        raise OSError("disk on fire")

    for stream, says in (
        ([1, 2], "give a function from a step"),
        (broken, "fails at once: OSError"),
        (lambda step: iter([("a", "b")]), "no arrays of numbers"),
        (lambda step: iter([(INPUTS[:4], TARGETS[:2])]), r"\[2, 4\] items"),
        (lambda step: iter([(INPUTS[:0], TARGETS[:0])]), r"\[0\] items"),
    ):
        with pytest.raises(Refused, match=says):
            run(stream)

    def changes(step):
        yield INPUTS[:SIZE], TARGETS[:SIZE]
        yield INPUTS[:SIZE].astype(object), TARGETS[:SIZE]

    with pytest.raises(Diverged, match="types object"):
        run(changes)


def test_what_does_not_fit_a_stream_is_refused():
    with pytest.raises(Refused, match=r"batches=None"):
        run(Ordered(), batches=FixedOrder(SIZE))
    with pytest.raises(Refused, match=r"Posterior\(..., total=60\)"):
        run(Ordered(), system=posterior(12))


def test_a_resumed_stream_goes_on_bit_for_bit():
    class Sink:
        saved, rows = None, ()

        def restore(self):
            return self.saved

        def partial_records(self):
            return None

        def block(self, steps, records, state):
            self.saved, self.rows = (steps, state), [*self.rows, records["position"]]

    sink, straight = Sink(), Sink()
    run(Ordered(), steps=90, sink=sink)
    run(Ordered(), steps=200, sink=sink)
    run(Ordered(), steps=200, sink=straight)
    assert (np.concatenate(sink.rows) == np.concatenate(straight.rows)).all()
