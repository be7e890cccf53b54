"""What came out: predictions · interpret · report · intervals · calibration · lr_curve."""
