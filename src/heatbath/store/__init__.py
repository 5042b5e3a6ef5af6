"""A run is a folder: immutable blocks, restorable state, one journal that tells the truth. No JAX."""

from heatbath.store.files import sha256_of
from heatbath.store.folder import PhaseSink, RunFolder
from heatbath.store.journal import Entry
from heatbath.store.layout import check_free, next_run_name
from heatbath.store.toml import write_toml

__all__ = ["Entry", "PhaseSink", "RunFolder", "check_free", "next_run_name", "sha256_of", "write_toml"]
