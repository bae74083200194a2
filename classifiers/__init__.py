"""What judges a passage."""
