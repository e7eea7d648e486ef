"""The compressed size of each image."""
