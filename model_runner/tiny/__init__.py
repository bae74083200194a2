"""gpt-oss-tiny, a stand-in model of a few hundred thousand parameters."""
