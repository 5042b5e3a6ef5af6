"""Thin adapters of the thermometer to training loops: one module a framework, imported when it is used."""
