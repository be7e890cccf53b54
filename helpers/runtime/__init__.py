"""Where and how things run, shared by every room: device, precision, CUDA graphs, seeds, tensors in files."""
