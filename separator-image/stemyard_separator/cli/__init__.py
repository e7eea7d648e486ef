"""Command line: separate local files, and the self-test."""
