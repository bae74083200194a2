"""`ostiary eval`: asks classifiers, policies and gateways about labelled sets, and reports."""
