"""The figures of a report that has classes, or rows known to be unlike the data."""

from collections.abc import Iterator

import numpy as np

from heatbath import plotting
from heatbath.learning.classify import BINS, Classification, classify, reliability, scores
from heatbath.learning.unfamiliar import auroc, few, some, unfamiliar
from heatbath.plotting import label
from heatbath.report.story import Section, Story

MOST_IMAGES = 12


def class_sections(story: Story) -> Iterator[Section]:
    """Confusion and reliability, familiarity, and the least familiar of the rows if they are images."""
    inputs, labels = some(story.inputs), some(story.targets)[:, 0]
    found = classify(few(story.draws), inputs)
    yield predictions(story, found, labels)
    yield familiarity(story, found)
    if drawable(story.shape):
        yield images(story, found, inputs, labels)


def predictions(story: Story, found: Classification, labels: np.ndarray) -> Section:
    classes = story.draws.classes
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, found.predicted), 1)
    bins = reliability(found.probabilities.max(axis=1), found.predicted == labels)
    result = scores(found, labels)
    return Section(
        "predictions",
        "Predicted classes at the training points",
        "Most rows lie on the diagonal of the table, and the points of the reliability diagram on its line: "
        "of the rows that are predicted with probability 0.8, eight in ten are right; points below the line "
        "mean that the probabilities are not to be trusted.",
        f"Accuracy {100 * result['accuracy']:.1f} %, log likelihood {result['log_likelihood']:.3f} nats a "
        f"row, expected calibration error {result['calibration_error']:.3f} ({BINS} bins of equal width), at "
        f"{len(labels)} of {len(story.inputs)} rows. The colours are shares of each label; the area of a "
        "point grows with its rows, the bars are two standard errors. These rows were learned from, and "
        "points above the line are usual for them; for an honest test, predict rows that the run has not "
        "seen.",
        plotting.confusion(classes, counts, *bins),
    )


def familiarity(story: Story, found: Classification | None = None) -> Section:
    """Of the training rows (``found``, in classification) and of the outliers, where there are some."""
    draws = few(story.draws)
    model = unfamiliar(draws, some(story.inputs)) if found is None else found.unfamiliar
    outliers = None if story.outliers is None else some(story.outliers)
    strange = None if outliers is None else unfamiliar(draws, outliers)
    panels = [("model part of the uncertainty (nats)", model, strange)]
    if found is not None:
        their = None if outliers is None else classify(draws, outliers).entropy
        panels.insert(0, ("predictive entropy (nats)", found.entropy, their))
    compared = ""
    if strange is not None:
        compared = (
            " An outlier is less familiar than a row of the data with probability "
            f"{auroc(model, strange)} (area under the ROC curve; 0.5 is blind, 1 perfect), at "
            f"{len(strange)} outliers and {len(model)} rows. The rows were learned from: against new ones it "
            "is a little less."
        )
    return Section(
        "familiarity",
        "What the ensemble does not know",
        "The model part, which more data would take away, is small for the data; rows unlike them lie to "
        "the right of it, because the draws of the posterior disagree there.",
        "The model part is the mutual information between the target and the weights: what is left of the "
        f"predictive entropy when the mean entropy of the single draws is taken away.{compared}",
        plotting.familiarity(panels),
    )


def images(story: Story, found: Classification, inputs: np.ndarray, labels: np.ndarray) -> Section:
    order = np.argsort(-found.unfamiliar, kind="stable")[:MOST_IMAGES]
    names = [label(name, 8) for name in story.draws.classes]
    titles = [names[labels[i]] for i in order]
    for k, i in enumerate(order):
        if found.predicted[i] != labels[i]:
            titles[k] += f", taken for {names[found.predicted[i]]}"
    shape = story.shape[:2] if story.shape[2:] == (1,) else story.shape
    return Section(
        "images",
        "The least familiar images",
        "They look unlike the others of their class, or are labelled wrongly; where they look like all "
        "others, the ensemble has nothing to be unsure of.",
        "Those with the largest model part of the uncertainty, "
        f"{found.unfamiliar[order[0]]:.2g} nats and less, of {len(inputs)} training images; above each its "
        "label, and the most probable class where that is another.",
        plotting.gallery(inputs[order].reshape(-1, *shape), titles),
    )


def drawable(shape: tuple[int, ...]) -> bool:
    """Whether rows of this shape are pictures: grey, or of three colours."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
