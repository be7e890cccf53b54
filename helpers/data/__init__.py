"""From labelled items to batches: pixels (decoded once, in a uint8 store) · augment · dataset (`ImageData`)."""
