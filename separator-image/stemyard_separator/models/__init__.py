"""Model weights: catalogue, model folder with verified digests, download and conversion."""
