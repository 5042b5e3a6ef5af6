"""What heatbath takes to start: its import on top of JAX's own, and its help.

    python benchmarks/imports.py [--json]

Wall-clock seconds, medians of 5 fresh processes each, taken in turn after one of each has compiled the
bytecode. "peer" is the limit that was set.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

ROUNDS = 5
PROGRAMS = {
    "python": "pass",
    "jax": "import jax, jax.numpy",
    "simulate": "import jax, jax.numpy; from heatbath import simulate",
    "help": "import sys; sys.argv = ['heatbath', '--help']; from heatbath.cli import main; main()",
}


def seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the cases as one JSON object")
    as_json = parser.parse_args().json
    rounds = [{name: seconds(code) for name, code in PROGRAMS.items()} for _ in range(ROUNDS + 1)][1:]
    found = {name: statistics.median(x[name] for x in rounds) for name in PROGRAMS}
    added = statistics.median(x["simulate"] - x["jax"] for x in rounds)
    jax = f"jax alone {found['jax'] - found['python']:.2f} s, Python {found['python']:.2f} s"
    cases = [
        case("from heatbath import simulate, on top of jax", added, 0.35, jax),
        case("heatbath --help", found["help"], 0.3, ""),
    ]
    if as_json:
        print(json.dumps({"cases": cases}, indent=1))
        return
    for x in cases:
        print(f"{x['case']:<46}{x['ours']:>7.3f} s, at most {x['peer']:g} s  {x['remark']}")


def case(name: str, ours: float, limit: float, remark: str) -> dict:
    values = (name, ours, limit, "limit", "s", limit / ours, 1.0, remark)
    names = ("case", "ours", "peer", "peer_name", "unit", "ratio", "target", "remark")
    return dict(zip(names, values, strict=True))


if __name__ == "__main__":
    main()
