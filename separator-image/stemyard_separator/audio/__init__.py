"""Decoding, encoding and measuring audio."""
