"""Slower, better-read classifiers: models that are asked for a judgement."""
