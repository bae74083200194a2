"""Other programs' formats of the decision log."""
