"""What came out: predictions · interpret · report · intervals · calibration · heatmaps · lr_curve."""
