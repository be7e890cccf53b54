"""Numbers about predictions: predictions · interpret · report · intervals · calibration · heatmaps."""
