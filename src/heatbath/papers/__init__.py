"""One file per cited work: what it claims, its number, our number.

`papers` lists them without importing any; `find` gives one. No JAX until a paper is reproduced.
"""

from heatbath.papers.claims import Claim, Verdict
from heatbath.papers.reproduction import Job, Paper, Reproduction, find, papers

__all__ = ["Claim", "Job", "Paper", "Reproduction", "Verdict", "find", "papers"]
