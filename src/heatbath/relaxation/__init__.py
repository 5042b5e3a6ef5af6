"""How far from equilibrium: Kullback-Leibler divergences in nats, exact where they can be, else estimated."""
