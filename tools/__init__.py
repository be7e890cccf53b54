"""For authors: run, store, copy and publish the notebooks. Not part of the installed package."""
