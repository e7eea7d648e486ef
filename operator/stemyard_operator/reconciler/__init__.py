"""Observe, decide, apply: one pass over one SeparationJob."""
