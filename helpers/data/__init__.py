"""From files to batches: items · splits · decode · pixels (the uint8 store) · augment · dataset (`ImageData`)."""
