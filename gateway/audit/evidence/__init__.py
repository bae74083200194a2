"""What the log can say to those who ask by the headings of a framework."""
