"""The whole system on a real cluster, as `make demo` and the cluster tests bring it up."""
