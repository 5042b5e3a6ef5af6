"""Every case of the shared file ``physics/sgd_cases.json``: exact answers computed by another program.

Relative tolerance 1e-10 of the largest entry, but for the minimiser of E (1e-6), the solves of B.lsq
(1e-9), and what that program had by quadrature: tail index (1e-6, 1e-4 for d > 1),
H and M (1e-8), first passage times (1e-6).
"""

import json

import numpy as np
import pytest

from heatbath.theory import (
    entropy_production,
    escape,
    gaussian,
    goldt_seifert,
    langevin_relaxation,
    learning_coefficient,
    least_squares,
    mandt,
    noise_scale,
    stationary,
    tail_index,
    thermostats,
)


def sgd_covariance(H, C, eta, momentum=0.0, dampening=0.0, nesterov=False):
    options = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
    state = stationary.sgd_state(H, C, eta, **options)
    if momentum:
        left, right = stationary.yaida_relation(H, C, eta, **options)
        answer = {"Sigma": state.position, "Sigma_v": state.velocity, "Cross": state.cross}
        return answer | ({} if nesterov else {"OL": left.sum(), "OR": right.sum()})
    sde = stationary.sde_covariance(H, C, eta)
    ratio = np.trace(state.position) / np.trace(sde)
    return {"Sigma": state.position, "Sigma_sde": sde, "trace_ratio_exact_over_sde": ratio}


def temperatures(H, C, eta):
    covariance = stationary.sgd_state(H, C, eta).position
    curvatures, modes = stationary.mode_temperatures(H, covariance)
    configurational = stationary.configurational_temperature(H, covariance)
    return {
        "T_noise": stationary.noise_temperature(C, eta),
        "T_conf": configurational,
        "T_mode": modes,
        "h": curvatures,
        "mean_loss": configurational * len(curvatures) / 2,
    }


def fluctuation_dissipation(H, C, eta):
    left, right = stationary.fluctuation_dissipation(H, C, eta)
    squared, bent = stationary.second_yaida_relation(H, C, eta)
    return {"OL": left.sum(), "OR": right.sum(), "grad2": squared, "fdr2_rhs": bent}


def regression(X, y, B, eta, **_):
    problem = least_squares.least_squares(X, y)
    answer = {}
    for name in ("with", "without"):
        replacement = name == "with"
        moment = least_squares.second_moment(problem, eta, B, replacement=replacement)
        answer[name] = {
            "Sigma": moment,
            "excess_loss": np.trace(problem.curvature @ moment) / 2,
            "eta_crit": least_squares.critical_step(problem, B, replacement=replacement),
        }
    noise = least_squares.gradient_covariance(problem, B)
    return answer | {
        "Sigma_additive_noise_only": stationary.sgd_state(problem.curvature, noise, eta).position,
        "eta_crit_deterministic": stationary.critical_step(problem.curvature),
        "theta_star": problem.minimum,
    }


def reshuffling(X, y, B, eta):
    problem = least_squares.least_squares(X, y)
    result = least_squares.reshuffled(problem, eta, B)
    fresh = least_squares.second_moment(problem, eta, B)
    cycle = least_squares.fixed_order_cycle(problem, eta, B)
    return {
        "mean_epoch_end": result.mean,
        "second_moment_epoch_end": result.second_moment,
        "second_moment_epoch_avg": result.second_moment_average,
        "second_moment_iid": fresh,
        "ratio_trace_epoch_end_over_iid": np.trace(result.second_moment) / np.trace(fresh),
        "fixed_order_cycle": cycle,
        "cycle_rms": np.sqrt(np.mean(np.sum(cycle**2, axis=1))),
    }


def constant_step(A, C_example, N, B):
    def distance(covariance):
        return mandt.posterior_divergence(A, covariance, N)

    noise = np.array(C_example) / B
    plain, exact = mandt.optimal_step(C_example, N, B), mandt.optimal_step_exact(A, C_example, N, B)
    return {
        "eta_sde": plain,
        "kl_sde": distance(stationary.sde_covariance(A, noise, plain)),
        "kl_at_eta_sde_exact": distance(stationary.sgd_state(A, noise, plain).position),
        "eta_exact": exact,
        "kl_exact": distance(stationary.sgd_state(A, noise, exact).position),
    }


def sgd_entropy_production(H, C, eta):
    H, C = np.array(H), np.array(C)
    diffusion, one = eta * C / 2, np.eye(len(H))
    swap = np.zeros_like(H)
    swap[0, 1], swap[1, 0] = 1, -1
    mean, variance = entropy_production.step_current(one - eta * H, eta**2 * C, swap)
    best = entropy_production.current_weights(H, diffusion)
    best_mean, best_variance = entropy_production.step_current(one - eta * H, eta**2 * C, best)
    rate = entropy_production.diffusion_rate(H, diffusion)
    return {
        "Sigma_sde": stationary.sde_covariance(H, C, eta),
        "ep_rate_sde": rate,
        "ep_per_step_sde": eta * rate,
        "ep_per_step_exact": entropy_production.chain_rate(one - eta * H, eta**2 * C),
        "area_rate": entropy_production.area_rate(H, diffusion),
        "tur_area12": entropy_production.short_time_bound(H, diffusion, swap),
        "tur_optimal": entropy_production.short_time_bound(H, diffusion, best),
        "onestep_area_current_mean": mean,
        "onestep_area_current_var": variance,
        "onestep_tur_area12": 2 * mean**2 / variance,
        "onestep_tur_optimal": 2 * best_mean**2 / best_variance,
    }


def commuting(H, C, eta):
    assert C == "H/2"
    answer = sgd_entropy_production(H, np.array(H) / 2, eta)
    return {key: answer[key] for key in ("ep_rate_sde", "ep_per_step_exact")}


def beads(n, Tc, Th, k, gamma):
    drift, diffusion = entropy_production.bead_spring_chain(n, Tc, Th, k, gamma)
    answer = {
        "ep_rate": entropy_production.diffusion_rate(drift, diffusion),
        "Sigma": gaussian.diffusion_covariance(drift, diffusion),
        "area_rate12": entropy_production.area_rate(drift, diffusion)[0, 1],
    }
    return answer | ({"closed_form": answer["ep_rate"]} if n == 2 else {})


def transient(H, C, eta, m0, S0, n):
    result = entropy_production.transient(np.eye(len(H)) - eta * np.array(H), eta**2 * np.array(C), m0, S0, n)
    return dict(
        zip(("total", "excess", "housekeeping", "medium", "kl0", "kln"), result, strict=True),
    )


def relaxation(H, T, m0, S0, t):
    result = langevin_relaxation.relaxation(H, T, t, m0, S0)
    return {
        "kl0": result.divergence_start,
        "klt": result.divergence,
        "heat_out": -result.heat,
        "dS": result.entropy_change,
        "total_ep": result.entropy_production,
        "mean_loss_t": result.mean_energy,
    }


def work(result):
    return dict(zip(("mean_work", "var_work", "dF", "dissipated"), result, strict=True))


def trap(k, u, T, t):
    answer = work(langevin_relaxation.moving_trap(k, u, T, t))
    return {key: answer[key] for key in ("mean_work", "var_work", "dF")}


def efficiency(result):
    return {
        "I": result.information,
        "dS": result.entropy_change,
        "dQ": result.dissipated_heat,
        "eff": result.efficiency,
    }


def perceptron(alpha, nu, heat_factor):
    result = goldt_seifert.large_perceptron(alpha, nu, heat_factor)
    return efficiency(result) | {"gen_pC": result.correct}


def variance_flatness(h, C, p, eta):
    assert C == "0.5*H^p"
    variance = stationary.mode_variance(h, np.array(h) ** p / 2, eta)
    limit = stationary.variance_flatness_exponent(h, np.array(h) ** (p - 1.0))
    return {
        "psi": stationary.variance_flatness_exponent(h, variance),
        "psi_small_eta": limit,
        "sigma2": variance,
    }


def noise_scales(A, d, delta, s2):
    assert A == "diag(geomspace(0.01,1,d))"
    hessian = np.diag(np.geomspace(0.01, 1, d))
    gradient, covariance = noise_scale.linear_gradient(hessian, delta, s2)
    simple, weighted, longest = noise_scale.noise_scales(gradient, covariance, hessian)
    errors = {
        (batch, parts): noise_scale.estimator_errors(gradient, covariance, batch, parts)
        for batch, parts in ((64, 2), (64, 8), (64, 64), (512, 2))
    }
    return {
        "G2": gradient @ gradient,
        "trS": np.trace(covariance),
        "B_simple": simple,
        "B_noise": weighted,
        "eps_max": longest,
        "d_eff": noise_scale.effective_dimension(covariance),
        "GSG": gradient @ covariance @ gradient,
        "trS2": np.sum(covariance**2),
        "estimators": {
            f"B{batch}_k{parts}": {"std_G2": error.squared_gradient, "relstd_trS": error.relative_trace}
            for (batch, parts), error in errors.items()
        },
    }


def quadratic(h, nbeta, gamma, eps, c, B):
    noise = 0.0 if c is None else c
    value = learning_coefficient.quadratic_coefficient(
        h, nbeta, gamma, step_size=eps, gradient_noise=noise, batch=B
    )
    return {"llc": value, "rank_half": np.count_nonzero(h) / 2}


def reduced_rank(M, H, N, r):
    threshold, multiplicity = learning_coefficient.reduced_rank_threshold(M, H, N, r)
    return {"rlct": threshold, "multiplicity": multiplicity}


def thermostat(kind, k, h, mu, T, c):
    scheme = {"symeuler": "symplectic-euler"}.get(kind, kind)
    kinetic, configurational = thermostats.thermostat_temperatures(
        scheme, k, h, friction_factor=mu, temperature=T, gradient_noise=c
    )
    return {"T_kin": None if np.isnan(kinetic) else kinetic, "T_conf": configurational}


def double_well(U, a, b, T):
    assert U == "a x^4/4 - b x^2/2"
    side, barrier = np.sqrt(b / a), b**2 / (4 * a)
    return {
        "mfpt_min_to_min": escape.mean_first_passage_time(
            lambda x: a * x**4 / 4 - b * x**2 / 2, -side, side, -4 * side, T
        ),
        "kramers_time_min_to_min": escape.kramers_time(2 * b, b, barrier, T),
        "barrier": barrier,
    }


def valley(L, a, b):
    assert L == "(w1 w2-1)^2/2"
    barrier = escape.linear_barrier(lambda w: (w[0] * w[1] - 1) ** 2 / 2, [a, 1 / a], [b, 1 / b])
    return {"linear_barrier": barrier}


def power(L, k, nbeta, gamma):
    assert L == "w^(2k)"
    return {"llc": learning_coefficient.power_coefficient(k, nbeta, gamma), "rlct": 1 / (2 * k)}


def cross(L, nbeta, gamma):
    assert L == "(w1 w2)^2"
    return {"llc": learning_coefficient.cross_coefficient(nbeta, gamma), "rlct": 0.5, "multiplicity": 2}


# The start of an id, the function, and the relative tolerance.
ANSWERS = [
    ("A.cov", sgd_covariance, 1e-10),
    ("C.temperature", temperatures, 1e-10),
    ("D.fdr", fluctuation_dissipation, 1e-10),
    ("B.lsq", regression, 1e-9),
    ("B.reshuffle", reshuffling, 1e-10),
    ("E.mandt", constant_step, 1e-6),
    ("F.ep.sgd", sgd_entropy_production, 1e-10),
    ("F.ep.commuting", commuting, 1e-12),
    ("F.bead", beads, 1e-10),
    ("F.ep.transient", transient, 1e-10),
    ("G.relax", relaxation, 1e-10),
    ("G.quench", lambda H0, H1, b, T: work(langevin_relaxation.quench(H0, H1, b, T)), 1e-10),
    ("G.trap", trap, 1e-10),
    ("H.goldt-seifert.single", lambda nu, tau: efficiency(goldt_seifert.single_weight(nu, tau)), 1e-8),
    ("H.goldt-seifert.thermo", perceptron, 1e-8),
    ("J.varflat", variance_flatness, 1e-10),
    ("K.gns", noise_scales, 1e-10),
    ("L.tail", lambda eta, b, d, sigma2: {"alpha": tail_index.tail_index(eta, b, d, sigma2)}, 1e-6),
    ("M.llc.quad", quadratic, 1e-10),
    ("M.llc.power", power, 1e-8),
    ("M.llc.cross", cross, 1e-8),
    ("M.llc.rrr", reduced_rank, 0),
    ("N.thermostat", thermostat, 1e-10),
    ("P.escape", double_well, 1e-6),
    ("Q.barrier", valley, 1e-10),
]


def compare(ours, expected, tolerance, where):
    if isinstance(expected, dict):
        assert set(ours) == set(expected), where
        for key in expected:
            compare(ours[key], expected[key], tolerance, f"{where}.{key}")
    elif expected is None:
        assert ours is None, where
    else:
        size = np.abs(expected).max()
        # Where the answer is zero the tolerance is absolute.
        tolerance *= size if size > 1e-12 else 1
        np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance, err_msg=where)


@pytest.fixture(scope="module")
def cases(shared):
    return json.loads((shared / "physics" / "sgd_cases.json").read_text())["cases"]


@pytest.mark.parametrize(("start", "function", "tolerance"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_cases(start, function, tolerance, cases):
    chosen = [case for case in cases if case["id"].startswith(start)]
    assert chosen
    for case in chosen:
        several = start == "L.tail" and case["inputs"]["d"] > 1
        compare(function(**case["inputs"]), case["expected"], 1e-4 if several else tolerance, case["id"])


def test_every_case_is_answered_once(cases):
    assert all(sum(case["id"].startswith(start) for start, _, _ in ANSWERS) == 1 for case in cases)
