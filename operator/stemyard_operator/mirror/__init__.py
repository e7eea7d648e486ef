"""Writes the read model in Redis that the API answers from."""
