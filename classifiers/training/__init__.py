"""How the embedded weights came to be: data, training, calibration and their report."""
