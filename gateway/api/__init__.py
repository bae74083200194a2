"""Wire formats and routes; no decisions."""
