"""The report of a run: one HTML file that needs nothing else. No JAX."""

from heatbath.report.write import write_report

__all__ = ["write_report"]
