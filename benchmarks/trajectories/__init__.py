"""Labelled trajectories, and how their files are read."""
