"""The doorkeeper: HTTP, identity, the pipeline, the decision log."""
