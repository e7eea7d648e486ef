"""The command line: separating local files, and the self-test."""
