"""Linear probes on what a model in this process thinks while it speaks."""
