"""What the benchmarks of stochastic gradients share: one core, interleaved rounds. Import it before JAX."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
os.environ |= {"JAX_ENABLE_X64": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def interleaved(programs: Mapping[str, tuple[Callable[[int], object], int]], rounds: int) -> dict[str, list]:
    """CPU microseconds a step of each program ``(run, steps)``, a list over the rounds; the first call of
    each, which compiles, does not count."""
    for run, steps in programs.values():
        run(steps)
    taken: dict[str, list] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, (run, steps) in programs.items():
            began = time.process_time()
            run(steps)
            taken[name].append((time.process_time() - began) / steps * 1e6)
    return taken


class Cases:
    """The cases so far: ``ratio`` is the median over the rounds of peer/ours; its range is in the remark."""

    def __init__(self):
        self.cases = []

    def add(self, case: str, ours: list, peer: list, peer_name: str, target: float | None = None, remark=""):
        ratios = [b / a for a, b in zip(ours, peer, strict=True)]
        spread = f"ratio {min(ratios):.2f} to {max(ratios):.2f}"
        self.cases.append(
            {
                "case": case,
                "ours": statistics.median(ours),
                "peer": statistics.median(peer),
                "peer_name": peer_name,
                "unit": "CPU us a step",
                "ratio": statistics.median(ratios),
                "target": target,
                "remark": "; ".join(filter(None, [spread, remark])),
            }
        )
        self.show(self.cases[-1])

    def show(self, x: dict) -> None:
        met = "" if x["target"] is None else ("  met" if x["ratio"] >= x["target"] else "  MISSED")
        asked = "" if x["target"] is None else f" (target {x['target']:.2f})"
        print(
            f"{x['case']:<44} ours {x['ours']:8.2f}  {x['peer_name']} {x['peer']:8.2f} {x['unit']}  "
            f"ratio {x['ratio']:5.2f}{asked}{met}  {x['remark']}",
            file=sys.stderr,
            flush=True,
        )

    def print(self, as_json: bool) -> None:
        if as_json:
            print(json.dumps({"cases": self.cases}, indent=1))
