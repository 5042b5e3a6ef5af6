"""Scalable natural gradient Langevin dynamics in practice: H. Palacci and H. Hess, arXiv:1806.02855 (2018).

The same network learns digits by SGD, by SGLD and by SGLD with the preconditioner of RMSprop (pSGLD). Are the
samplers as accurate, are they calibrated, and does an ensemble know what it has never seen: digits on their
side, noise, garments? The paper's networks are larger and its Kronecker-factored preconditioner is not run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from heatbath.core import Constant, Control, Dynamics, simulate
from heatbath.data.outliers import garments, noise, rotated
from heatbath.dynamics import SGD, SGLD, PreconditionedSGLD, Windows
from heatbath.estimate import Estimate
from heatbath.learning.classify import Classification, scores
from heatbath.learning.unfamiliar import share_below
from heatbath.papers.claims import Claim
from heatbath.papers.digits import UNTRAINED, Digits, cooled, digits, predictive
from heatbath.papers.replicas import decided, doubted, less, mean, paired
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLUE, GREEN, GREY, ORANGE, WIDTH, span, styled

BATCH, COPIES = 100, 8
SAMPLERS = ("SGLD", "pSGLD")
COLOURS = {"SGD": GREY, "SGLD": BLUE, "pSGLD": ORANGE}
DIGITS = "test digits"


def reproduce(job: Job) -> Reproduction:
    data = digits()
    sets = {DIGITS: data.test_images} | outliers(job, data)
    found = {
        name: Results(learn(job, data, sets, name, dynamics), data.test_labels)
        for name, dynamics in methods(data.system.n_items).items()
    }
    figures = {"figure-1": entropies(found, sets), "figure-2": detection(found, sets)}
    return Reproduction([*quality(job, found), *strangers(found)], figures, data.source)


def methods(items: int) -> dict[str, Dynamics]:
    """Step sizes go as 1/``items``, like the inverse curvature of the energy."""
    return {
        "SGD": SGD(0.3 / items, Windows(BATCH), momentum=0.9),
        "SGLD": SGLD(3.0 / items, Windows(BATCH)),
        "pSGLD": PreconditionedSGLD(0.012 / items, Windows(BATCH)),
    }


def outliers(job: Job, data: Digits) -> dict[str, np.ndarray]:
    """Images that are no digits, 1,000 of each where there are as many test digits to turn."""
    count, side = 1_000, data.images.shape[1]
    return {
        "digits on their side": rotated(data.test_images[:count]),
        "noise": noise(count, side, job.key(1)),
        "garments": garments(count, side, job.key(2)),
    }


def learn(
    job: Job, data: Digits, sets: Mapping[str, np.ndarray], name: str, dynamics: Dynamics
) -> list[dict[str, Classification]]:
    """What each replica predicts on each of ``sets``: the last network of SGD, the ensembles of the samplers
    over the second half of the run. All start from the same prior draws and take as many steps."""
    steps, saves = job.either((15_000, 100), (2_000, 40))
    run = simulate(
        data.system,
        dynamics,
        Constant(Control(1.0)),
        key=job.key(3),
        replicas=COPIES,
        steps=steps,
        every=steps // saves,
        positions=cooled(data.system, job.key(4), np.ones(COPIES)),
        ledger="off",
        progress=job.progress(f"network of digits by {name}"),
    )
    job.say(f"predictions of {name}")
    records = run.records if name in SAMPLERS else {k: x[:, -1:] for k, x in run.records.items()}
    return [
        {kind: predictive(records, r, data.inputs(images)) for kind, images in sets.items()}
        for r in range(COPIES)
    ]


@dataclass(frozen=True)
class Results:
    """Of each replica, its predictions on each set of images."""

    predictions: list[dict[str, Classification]]
    labels: np.ndarray

    def right(self) -> np.ndarray:
        """Whether a test digit is recognised, (replicas, digits)."""
        return np.array([p[DIGITS].predicted == self.labels for p in self.predictions], float)

    def log_likelihood(self) -> np.ndarray:
        """Of a test digit's label, in nats, (replicas, digits)."""
        places = np.arange(len(self.labels))
        return np.array([p[DIGITS].log_probabilities[places, self.labels] for p in self.predictions])

    def calibration_error(self) -> np.ndarray:
        """On the test digits, (replicas,)."""
        return np.array([scores(p[DIGITS], self.labels)["calibration_error"] for p in self.predictions])

    def score(self, kind: str, name: str) -> np.ndarray:
        """``name``, the entropy or its model part "unfamiliar", of each image, (replicas, images)."""
        return np.array([getattr(p[kind], name) for p in self.predictions])

    def detection(self, kind: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Of each image of ``kind`` the share of test digits with a lower score, (replicas, images); of each
        test digit the share of images of ``kind`` with a higher one, (replicas, digits). The mean of either
        is the AUROC."""
        pairs = list(zip(self.score(DIGITS, name), self.score(kind, name), strict=True))
        strange = np.array([share_below(other, digit) for digit, other in pairs])
        return strange, np.array([1 - share_below(digit, other) for digit, other in pairs])

    def auroc(self, kind: str, name: str) -> Estimate:
        """The error is that of other replicas and other images (DeLong et al. 1988)."""
        placements = self.detection(kind, name)
        found = mean(placements[0].mean(axis=1))
        errors = [found.std_error, *(mean(x.mean(axis=0)).std_error for x in placements)]
        return Estimate(found.value, float(np.linalg.norm(errors)), found.ess)

    def better(self, theirs: "Results", kind: str) -> Estimate:
        """AUROC of our model part less that of their entropy, the images being the same."""
        ours, others = self.detection(kind, "unfamiliar"), theirs.detection(kind, "entropy")
        found = paired(ours[0], others[0])
        of_digits = mean(ours[1].mean(axis=0) - others[1].mean(axis=0)).std_error
        return Estimate(found.value, float(np.hypot(found.std_error, of_digits)), found.ess)


def quality(job: Job, found: Mapping[str, Results]) -> list[Claim]:
    """Accuracy and calibration on the test digits. Differences of a hundredth are forgiven."""
    theirs, claims = found["SGD"], []
    for name in SAMPLERS:
        ours = found[name]
        calibration = less(mean(ours.calibration_error()), mean(theirs.calibration_error()))
        differences = (
            (
                "classifies as well as SGD: difference of test accuracies",
                1,
                paired(ours.right(), theirs.right()),
            ),
            (
                "predicts as well as SGD: difference of mean test log likelihoods, nats",
                1,
                paired(ours.log_likelihood(), theirs.log_likelihood()),
            ),
            ("is calibrated as well as SGD: difference of expected calibration errors", -1, calibration),
        )
        for text, sign, difference in differences:
            side = "at least" if sign > 0 else "at most"
            estimate = doubted(decided(difference, -0.01 * sign), job.either("", UNTRAINED))
            claims.append(Claim(f"{name} {text}", 0.0, estimate, side, allowed=0.01, source="stated"))
    return claims


def strangers(found: Mapping[str, Results]) -> list[Claim]:
    """Detection of what is no digit by the samplers' model part, alone and against the entropy of SGD."""
    claims = []
    for name in SAMPLERS:
        for kind in [kind for kind in found[name].predictions[0] if kind != DIGITS]:
            known = decided(found[name].auroc(kind, "unfamiliar"), 0.5)
            better = decided(found[name].better(found["SGD"], kind), 0.0)
            told = f"The ensemble of {name} tells {kind} from digits: AUROC (0.5 is blind)"
            more = f"It tells {kind} from digits better than a network of SGD does: difference of AUROCs"
            claims += [
                Claim(told, 0.5, known, "at least", source="stated"),
                Claim(more, 0.0, better, "at least", source="stated"),
            ]
    return claims


@styled
def entropies(found: Mapping[str, Results], sets: Mapping[str, np.ndarray]) -> Figure:
    """How sure each method is of digits and of strangers: share of the images below an entropy."""
    figure = Figure(figsize=(WIDTH, 3.4))
    panels = figure.subplots(1, len(found), sharey=True)
    for axes, (name, results) in zip(panels, found.items(), strict=True):
        for kind, colour in zip(sets, (BLUE, ORANGE, GREY, GREEN), strict=True):
            values = np.sort(np.concatenate([p[kind].entropy for p in results.predictions]))
            axes.plot(values, np.linspace(0, 1, len(values)), color=colour, label=kind)
        axes.set(title=name, xlabel="entropy of the prediction, nats", xlim=(0, np.log(10)), ylim=(0, 1))
    panels[0].set_ylabel("share of the images below")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(sets))
    return figure


@styled
def detection(found: Mapping[str, Results], sets: Mapping[str, np.ndarray]) -> Figure:
    """AUROC of each kind of outlier, and four images of each. Error bars: two standard errors."""
    figure = Figure(figsize=(WIDTH, 3.8))
    left, right = figure.subplots(1, 2, width_ratios=[3, 1.3])
    kinds, ends = [kind for kind in sets if kind != DIGITS], []
    for offset, (name, results) in enumerate(found.items()):
        for score, marker in (("entropy", "o"), ("unfamiliar", "D")):
            if score == "unfamiliar" and name not in SAMPLERS:
                continue
            each = [results.auroc(kind, score) for kind in kinds]
            places = np.arange(len(kinds)) + 0.16 * (offset - 1) + 0.05 * (score == "unfamiliar")
            label = f"{name}, {'entropy' if score == 'entropy' else 'model part'}"
            values, errors = np.array([[e.value, 2 * e.std_error] for e in each]).T
            axes_format = {"fmt": marker, "color": COLOURS[name], "markersize": 5, "label": label}
            left.errorbar(places, values, errors, **axes_format)
            ends += [values - errors, values + errors]
    left.axhline(0.5, color=GREY, linewidth=1, linestyle="--", label="blind")
    left.set_xticks(np.arange(len(kinds)), kinds)
    left.set(title="AUROC against test digits", ylim=span(np.array(ends), 0.5, 1.0))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    rows = [np.concatenate(list(sets[kind][:4]), axis=1) for kind in sets]
    right.imshow(np.concatenate(rows), cmap="gray_r", vmin=0, vmax=1)
    right.set_axis_off()
    return figure
