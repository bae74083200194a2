"""The o200k_base vocabulary, bundled so that nothing is ever fetched."""
