"""Exact results to hold a simulation against: numbers and arrays in, numbers and arrays out, no simulator.

One file per family; `QUANTITIES` has them by name. To add a family, write its file and its lines in the
table.
"""

from collections.abc import Callable

from heatbath.theory import (
    annealing_exact,
    breathing_trap,
    dragged_trap,
    driven_trap,
    entropy_production,
    escape,
    gaussian,
    gaussian_work,
    goldt_seifert,
    ising_exact,
    langevin_relaxation,
    learning_coefficient,
    least_squares,
    mandt,
    noise_scale,
    optimal_protocols,
    piston,
    quadratic_work,
    stationary,
    tail_index,
    thermostats,
    two_state,
)

FAMILIES: dict[str, tuple[Callable, ...]] = {
    "gaussian": (
        gaussian.divergence,
        gaussian.entropy,
        gaussian.chain_covariance,
        gaussian.diffusion_covariance,
    ),
    "stationary": (
        stationary.critical_step,
        stationary.sgd_state,
        stationary.sde_covariance,
        stationary.mode_variance,
        stationary.noise_temperature,
        stationary.configurational_temperature,
        stationary.mode_temperatures,
        stationary.fluctuation_dissipation,
        stationary.yaida_relation,
        stationary.second_yaida_relation,
        stationary.flatness,
        stationary.variance_flatness_exponent,
    ),
    "least_squares": (
        least_squares.least_squares,
        least_squares.gradient_covariance,
        least_squares.critical_step,
        least_squares.second_moment,
        least_squares.gaussian_critical_step,
        least_squares.reshuffled,
        least_squares.fixed_order_cycle,
    ),
    "thermostats": (thermostats.thermostat_temperatures,),
    "mandt": (
        mandt.posterior_divergence,
        mandt.optimal_step,
        mandt.optimal_step_exact,
        mandt.optimal_preconditioner,
        mandt.optimal_momentum,
    ),
    "entropy_production": (
        entropy_production.diffusion_rate,
        entropy_production.area_rate,
        entropy_production.current_weights,
        entropy_production.short_time_bound,
        entropy_production.chain_rate,
        entropy_production.transient,
        entropy_production.step_current,
        entropy_production.step_uncertainty_bound,
        entropy_production.bead_spring_chain,
    ),
    "langevin_relaxation": (
        langevin_relaxation.relaxation,
        langevin_relaxation.quench,
        langevin_relaxation.moving_trap,
        langevin_relaxation.sgld_shadow_work,
    ),
    "goldt_seifert": (
        goldt_seifert.heat_factor,
        goldt_seifert.single_weight,
        goldt_seifert.large_perceptron,
    ),
    "noise_scale": (
        noise_scale.linear_gradient,
        noise_scale.noise_scales,
        noise_scale.best_step,
        noise_scale.effective_dimension,
        noise_scale.estimator_errors,
    ),
    "tail_index": (tail_index.tail_index,),
    "learning_coefficient": (
        learning_coefficient.quadratic_coefficient,
        learning_coefficient.power_coefficient,
        learning_coefficient.cross_coefficient,
        learning_coefficient.reduced_rank_threshold,
    ),
    "escape": (
        escape.mean_first_passage_time,
        escape.kramers_time,
        escape.linear_barrier,
    ),
    "quadratic_work": (
        quadratic_work.log_average,
        quadratic_work.moments,
    ),
    "driven_trap": (
        driven_trap.work,
        driven_trap.euler_maruyama_shadow_work,
        driven_trap.euler_maruyama_usable_step,
        driven_trap.baoab_usable_step,
    ),
    "dragged_trap": (
        dragged_trap.continuous,
        dragged_trap.jumps,
        dragged_trap.lag_divergence,
        dragged_trap.euler_maruyama,
        dragged_trap.baoab,
    ),
    "breathing_trap": (
        breathing_trap.free_energy,
        breathing_trap.ramp,
        breathing_trap.jumps,
        breathing_trap.generating_function,
        breathing_trap.euler_maruyama,
    ),
    "optimal_protocols": (
        optimal_protocols.drag_work,
        optimal_protocols.drag_centre,
        optimal_protocols.stiffness_work,
        optimal_protocols.stiffness_protocol,
    ),
    "two_state": (
        two_state.free_energy,
        two_state.work_distribution,
        two_state.arrow_of_time,
        two_state.erasure,
    ),
    "piston": (
        piston.free_energy,
        piston.mean_work,
        piston.exponential_average,
        piston.work,
    ),
    "ising_exact": (
        ising_exact.ring_free_energy,
        ising_exact.ring_work,
        ising_exact.torus_log_partition,
    ),
    "annealing_exact": (
        annealing_exact.gamma,
        annealing_exact.gamma_length,
        annealing_exact.least_dissipation,
        annealing_exact.evidence_log_partition,
        annealing_exact.evidence_energy,
        annealing_exact.evidence_length,
        annealing_exact.evidence_annealing,
    ),
    "gaussian_work": (
        gaussian_work.jarzynski_error,
        gaussian_work.cumulant_error,
        gaussian_work.bar_error,
    ),
}

QUANTITIES: dict[str, Callable] = {
    f"{family}.{quantity.__name__}": quantity
    for family, quantities in FAMILIES.items()
    for quantity in quantities
}


def names() -> list[str]:
    """The names of all quantities, ``family.quantity``, sorted."""
    return sorted(QUANTITIES)


__all__ = ["FAMILIES", "QUANTITIES", "names"]
