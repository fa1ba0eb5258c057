"""Trajectories in, an adapter out. Does not know how the result is measured."""
