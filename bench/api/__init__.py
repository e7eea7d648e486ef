"""Measures the API against a bare handler that does one Redis GET, in the same run on the same machine."""
