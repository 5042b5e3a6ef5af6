"""Put the report together and write it in one move."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heatbath import plotting
from heatbath.errors import Refused
from heatbath.learning.diagnose import Diagnosis
from heatbath.learning.draws import Draws
from heatbath.learning.settings import Settings
from heatbath.report.page import page
from heatbath.report.records import read_phases
from heatbath.report.sections import sections
from heatbath.report.story import Story
from heatbath.store import RunFolder
from heatbath.store.files import replace, show


def write_report(folder: RunFolder, draws: Draws, diagnosis: Diagnosis) -> Path:
    """Write RUN/report.html, which needs no other file, and its figures RUN/figures/NAME.svg.

    The same run gives the same bytes. Works while sampling is unfinished and without annealing. Raises
    `Refused` where the files cannot be written.
    """
    settings = Settings.from_config(folder.config)
    data = folder.data()
    columns = folder.config["data"]
    story = Story(
        phases=read_phases(folder, settings),
        draws=draws,
        diagnosis=diagnosis,
        names=columns["targets"],
        input_names=columns["inputs"],
        inputs=data["inputs"],
        targets=data["targets"],
        shape=tuple(columns.get("shape", ())),
        outliers=data.get("outliers"),
        minibatches=settings.batch > 0,
    )
    path, figures = folder.path / "report.html", folder.path / "figures"
    with _refusing(path):
        if figures.is_symlink():
            raise Refused(f"{show(figures)} is a link: remove it")
        figures.mkdir(exist_ok=True)
    parts = list(sections(story))
    drawn = {part.name: plotting.svg(part.figure, part.name) for part in parts}
    done = {name: folder.steps(name) for name in ("anneal", "sample")}
    html = page(folder.config, folder.environment, done, draws, diagnosis, parts, drawn)
    with _refusing(path):
        for name, text in drawn.items():
            replace(figures / f"{name}.svg", text.encode())
        replace(path, html.encode())
    return path


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = show(error.filename or path)
        raise Refused(f"cannot write {where}: {error.strerror}; check disk and permissions") from error
