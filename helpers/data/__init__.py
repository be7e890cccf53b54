"""From labelled items to batches: decode (and the uint8 store) · augment · dataset (`ImageData`)."""
