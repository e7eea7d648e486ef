"""What the images have in common."""
