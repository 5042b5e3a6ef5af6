"""Crooks' theorem verified, RNA folding energies: D. Collin, F. Ritort et al., Nature 437, 231 (2005).

RNA hairpins were unfolded and refolded at several speeds: the histograms of the work cross at the free energy
whatever the speed, the logarithm of their ratio is a line of slope 1, and both directions together give free
energies where one alone fails. Their works are not public. Here: a DNA hairpin, where HEATBATH_DATA has it,
and benzene in water whose charges are switched off over 1 to 4 states at once, which dissipates 0.4 to 4 kT;
its samples, 10 ps apart, are independent (autocorrelation times of the work 0.8 to 1.2 samples).
"""

from itertools import pairwise

import numpy as np

from heatbath.data import benzene, hairpin
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy import bar, bootstrap, crooks, hysteresis, jarzynski
from heatbath.papers.both_directions import fitted, histograms
from heatbath.papers.claims import Claim
from heatbath.papers.reproduction import Job, Reproduction

FULL, SMOKE = 400, 40  # resamples
LONGEST = 4


def reproduce(job: Job) -> Reproduction:
    job.say("resampling the works of benzene, and of the hairpin where it is here")
    resamples = job.either(FULL, SMOKE)
    charges = states_of("coulomb")
    jump = charges[0][:, LONGEST], charges[LONGEST][:, 0]
    figures = {"benzene": histograms(*jump)}
    claims = [
        *of_charges(charges, resamples, job.key(0)),
        one_sided("Benzene, 4 states at once, forward", *jump),
    ]
    claims.append(of_neighbours(states_of("vdw")))
    try:
        pulls = hairpin()
    except Refused as refusal:
        return Reproduction(
            claims + of_hairpin(None, str(refusal)), figures, "benzene, which comes with heatbath"
        )
    figures["hairpin"] = histograms(*pulls)
    claims += of_hairpin(pulls, "", resamples, job.key(1))
    return Reproduction(
        claims, figures, "benzene, which comes with heatbath; the DNA hairpin of HEATBATH_DATA"
    )


def states_of(leg) -> list[np.ndarray]:
    """Of each state, the energies of its samples in all states less that in their own, (samples, states)."""
    data = benzene(leg)
    return [data.du[data.state == k] for k in range(len(data.counts))]


def of_charges(states: list[np.ndarray], resamples: int, seed: int) -> list[Claim]:
    """Switches from the first state to the one 1 to 4 further on: the analogue of pulling faster."""
    claims = []
    for end in range(1, LONGEST + 1):
        forward, reverse = states[0][:, end], states[end][:, 0]
        wasted = hysteresis(forward, reverse) / 2
        what = f"Benzene, {end} state{'s' * (end > 1)} at once ({wasted:.2g} kT dissipated)"
        claims.append(
            Claim(f"{what}: slope of ln P_F(W)/P_R(-W)", 1.0, fitted(crooks(forward, reverse).slope))
        )
        if end > 1:
            away = bootstrap(beyond_steps, *states[: end + 1], resamples=resamples, seed=seed + end)
            text = f"{what}: free energy less that of the single steps, which dissipate less (kT)"
            claims.append(Claim(text, 0.0, away, scale=wasted, source="stated"))
    return claims


def beyond_steps(*states: np.ndarray) -> Estimate:
    """Bennett's free energy of a switch over all ``states`` less the sum of those between neighbours."""
    steps = [bar(a[:, i + 1], b[:, i]) for i, (a, b) in enumerate(pairwise(states))]
    jump = bar(states[0][:, len(states) - 1], states[-1][:, 0])
    return Estimate(jump.value - sum(step.value for step in steps), np.nan)


def of_neighbours(states: list[np.ndarray]) -> Claim:
    """Pairs of neighbours that share no sample: (0, 1), (2, 3), ..."""
    pairs = [crooks(states[i][:, i + 1], states[i + 1][:, i]).slope for i in range(0, len(states) - 1, 2)]
    weights = np.array([pair.std_error**-2 for pair in pairs])
    mean = np.average([pair.value for pair in pairs], weights=weights)
    text = f"Benzene without charges, van der Waals forces off, mean of {len(pairs)} pairs of states: slope"
    return Claim(text, 1.0, Estimate(float(mean), float(weights.sum() ** -0.5)))


def one_sided(what: str, work: np.ndarray, reverse: np.ndarray) -> Claim:
    """Jarzynski's average against Bennett's ratio; no verdict where one direction missed the rare runs."""
    best, alone = bar(work, reverse), jarzynski(work)
    return Claim(f"{what}: Jarzynski's average is that of both directions (kT)", best.value, alone)


def of_hairpin(pulls, reason: str, resamples: int = 0, seed: int = 0) -> list[Claim]:
    """Claims on 96 + 96 pulls; ``reason`` where there are none."""
    slope = "Hairpin: slope of ln P_U(W)/P_R(-W)"
    crossing = "Hairpin: free energy of Bennett's ratio less where the histograms cross (kT)"
    lost = "Hairpin: work dissipated, mean of both directions (kT)"
    if pulls is None:
        return [
            Claim(text, value, None, reason=reason)
            for text, value in ((slope, 1.0), (crossing, 0.0), (lost, 0.0))
        ]
    unfolding, refolding = pulls
    found = crooks(unfolding, refolding)

    def difference(forward, reverse) -> Estimate:
        return Estimate(bar(forward, reverse).value - crooks(forward, reverse).crossing.value, np.nan)

    def dissipated(forward, reverse) -> Estimate:
        return Estimate(hysteresis(forward, reverse) / 2, np.nan)

    # A cycle is one unfolding and one refolding of the same molecule: resampled together.
    away, wasted = (
        bootstrap(of, *pulls, resamples=resamples, seed=seed, paired=True) for of in (difference, dissipated)
    )
    back = one_sided("Hairpin, refolding alone, F(folded) - F(unfolded)", refolding, unfolding)
    return [
        Claim(slope, 1.0, fitted(found.slope)),
        Claim(crossing, 0.0, away, scale=wasted.value, source="stated"),
        Claim(lost, 0.0, wasted, "at least"),
        one_sided("Hairpin, unfolding alone", unfolding, refolding),
        back,
    ]
