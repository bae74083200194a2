"""Usage policy as files, and the pure function that applies it."""
