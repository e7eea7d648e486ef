"""Model weights: how they are converted, where they lie, and the proof that they are the right ones."""
