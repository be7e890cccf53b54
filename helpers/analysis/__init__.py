"""Numbers about predictions and data: predictions · interpret · report · intervals · calibration · heatmaps · audit."""
