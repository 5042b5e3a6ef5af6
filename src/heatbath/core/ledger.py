"""The books of a run: work, heat and shadow work of each replica, in float64."""

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from heatbath.core.control import Control
from heatbath.core.numeric import float_dtype


class Ledger(eqx.Module):
    """Sums since the first step, energies received by the system; one scalar a replica.

    ``reduced_work``, in nats, is the sum of the changes of E/T at the control's moves plus shadow work
    over T; what every free-energy estimator takes. ``entropy_flow`` is -sum Q/T, in nats.
    """

    work: Array
    reduced_work: Array
    heat: Array
    shadow_work: Array
    entropy_flow: Array
    energy_change: Array

    @staticmethod
    def zero() -> "Ledger":
        return Ledger(*[jnp.zeros((), float_dtype())] * 6)

    def residual(self) -> Array:
        """First law: energy change - work - heat - shadow work; rounding error only."""
        return self.energy_change - self.work - self.heat - self.shadow_work

    def moved(
        self,
        old: Control,
        new: Control,
        potential: tuple[Array, Array],
        kinetic: tuple[Array, Array],
        momenta: int,
    ) -> "Ledger":
        """Step 1: the control moved from ``old`` to ``new`` at fixed position.

        ``potential`` and ``kinetic``: before and after. The potential's change is work. The rescaling of
        the momenta is the bath's doing: its energy is heat, its entropy flow -(d/2) ln(T_new/T_old).
        """
        (u0, u1), (k0, k1) = potential, kinetic
        t0, t1 = old.temperature, new.temperature
        return Ledger(
            self.work + (u1 - u0),
            self.reduced_work + ((u1 + k1) / t1 - (u0 + k0) / t0),
            self.heat + (k1 - k0),
            self.shadow_work,
            self.entropy_flow - (momenta / 2) * jnp.log(t1 / t0),
            self.energy_change,
        )

    def stepped(self, control: Control, heat: Array, shadow_work: Array, energy_change: Array) -> "Ledger":
        """Step 2: the dynamics moved the position at fixed control. ``energy_change`` is the difference
        of the energies now and at the start, not a sum, so that `residual` is a check of the sums."""
        return Ledger(
            self.work,
            self.reduced_work + shadow_work / control.temperature,
            self.heat + heat,
            self.shadow_work + shadow_work,
            self.entropy_flow - heat / control.temperature,
            energy_change,
        )

    def closed(self, control: Control, energy_change: Array) -> "Ledger":
        """The energy was measured after steps at fixed control whose heat is booked: the rest is shadow
        work."""
        rest = energy_change - self.work - self.heat - self.shadow_work
        return self.stepped(control, jnp.zeros_like(rest), rest, energy_change)
