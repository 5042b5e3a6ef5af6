"""Tables of numbers: read from CSV, shipped with the package, or drawn from a recipe. No JAX here."""

from heatbath.data.shipped import SHIPPED, DataSet, find, robot_arm
from heatbath.data.table import Table, check_columns, read_table

__all__ = ["SHIPPED", "DataSet", "Table", "check_columns", "find", "read_table", "robot_arm"]
