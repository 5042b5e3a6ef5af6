"""Free energies from work: arrays in, `Estimate` out. They know no simulator. NumPy and SciPy, no JAX."""
