"""From files to batches: items · splits · decode (and the uint8 store) · augment · dataset (`ImageData`)."""
