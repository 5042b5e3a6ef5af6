"""`heatbath thermometer`: the temperature of every layer of a run."""

import math
import sys
from pathlib import Path

import click

from heatbath.cli.answer import answer, common
from heatbath.cli.sampling import prepare
from heatbath.errors import Refused
from heatbath.estimate import Estimate, with_error
from heatbath.learning.settings import Settings, check_config
from heatbath.store import RunFolder
from heatbath.store.files import replace, show


@click.command("thermometer", short_help="Temperatures of a run, layer by layer, and what they say.")
@click.argument("run", type=Path)
@common
def command(run: Path, as_json: bool, quiet: bool) -> int:
    """Print the temperature of every layer of RUN, and draw it in RUN/figures/thermometer.svg.

    In equilibrium every layer is at the bath's temperature (equipartition).
    """
    folder = RunFolder.open(run)
    check_config(folder.config)
    heating = heating_of(folder)
    path = folder.path / "figures" / "thermometer.svg"
    if path.parent.is_symlink():
        raise Refused(f"{show(path.parent)} is a link: remove it")
    if not quiet:
        print("measuring temperatures ...", file=sys.stderr, flush=True)
    prepare()
    from heatbath.learning.temperatures import BATH, LayerTemperatures, layer_temperatures
    from heatbath.plotting import svg
    from heatbath.plotting.temperatures import layer_temperatures as draw

    def lines(found: LayerTemperatures) -> list[str]:
        head = f"{'layer':<18}{'size':>8}  {'T (configurational)':<22}T (virial)"
        table = [
            f"{x.name:<18}{x.size:>8,}  {_cell(x.configurational):<22}{_cell(x.virial)}" for x in found.layers
        ]
        capacity = (
            f"heat capacity {found.heat_capacity}: half the number of directions that the energy confines"
        )
        return [head, *table, capacity, found.verdict(), *heating, f"figure: {path}"]

    found = layer_temperatures(folder, progress=not quiet)
    figure = draw({x.name: (x.configurational, x.virial) for x in found.layers}, BATH)
    try:
        path.parent.mkdir(exist_ok=True)
        replace(path, svg(figure, "thermometer").encode())
    except OSError as error:
        raise Refused(f"cannot write {show(path)}: {error.strerror}; copy the run, ask the copy") from error
    result = {"run": str(folder.path), "figure": str(path), **found.summary()}
    answer(result, lines(found), as_json=as_json, quiet=quiet)
    return 0


def heating_of(folder: RunFolder) -> list[str]:
    """A line on what minibatches do, where the run took them."""
    settings = Settings.from_config(folder.config)
    share = settings.heating(folder.config["data"]["rows"])
    what = f"by step size and batch, minibatches heat the stiffest direction by about {100 * share:.0f} %"
    return [what] * (settings.batch > 0 and not math.isnan(share))


def _cell(estimate: Estimate) -> str:
    text = with_error(estimate.value, estimate.std_error)
    return text if estimate.reliable else text + "?"
