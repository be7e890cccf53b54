"""Where and how things run, shared by every room: device, precision, seeds, files, progress, arguments, text."""
