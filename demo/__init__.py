"""Installs the whole system on a real cluster, for `make demo` and the cluster tests."""
