"""Tables of numbers and images: read from CSV and npz, with a name, or drawn from a recipe. No JAX here."""

from heatbath.data.images import read_images
from heatbath.data.recipes import robot_arm
from heatbath.data.sets import SETS, SHIPPED, Arrays, DataSet, classes_of, dataset, find, indices_of
from heatbath.data.shards import Shards
from heatbath.data.table import Table, check_columns, read_table
from heatbath.data.work import AlchemicalWindows, benzene, hairpin, read_cycles, read_work

__all__ = [
    "SETS",
    "SHIPPED",
    "AlchemicalWindows",
    "Arrays",
    "DataSet",
    "Shards",
    "Table",
    "benzene",
    "check_columns",
    "classes_of",
    "dataset",
    "find",
    "hairpin",
    "indices_of",
    "read_cycles",
    "read_images",
    "read_table",
    "read_work",
    "robot_arm",
]
