"""`heatbath thermometer` on a run of random numbers: what it prints, draws and refuses."""

import json

from heatbath.store import RunFolder


def test_the_table_and_the_figure(made, heatbath):
    answer = heatbath("thermometer", made)
    assert (answer.code, answer.err) == (0, "measuring temperatures ...\n")
    for name in ("layer 1 weights", "layer 2 biases", "prior precisions", "noise levels", "heat capacity"):
        assert name in answer.out
    drawn = (made / "figures" / "thermometer.svg").read_bytes()
    assert drawn.startswith(b"<svg")
    assert heatbath("thermometer", made).code == 0
    assert (made / "figures" / "thermometer.svg").read_bytes() == drawn


def test_json(made, heatbath):
    found = json.loads(heatbath("thermometer", made, "--json").out)
    keys = "run figure layers bath p_value heat_capacity replicas saves verdict"
    assert set(found) == set(keys.split())
    assert [layer["size"] for layer in found["layers"]] == [8, 4, 4, 1, 5, 1]
    assert found["layers"][0]["configurational"]["reason"].startswith("3 replicas are too few")
    assert found["verdict"].startswith("no verdict")
    assert (found["replicas"], found["saves"], found["bath"]) == (3, 6, 1.0)


def test_refusals(tiny, made, refused):
    assert "nowhere" in refused("thermometer", tiny / "nowhere")
    figures = RunFolder.open(made).path / "figures"
    figures.symlink_to(tiny)
    assert "is a link" in refused("thermometer", made)
