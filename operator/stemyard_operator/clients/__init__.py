"""Clients of the API server, the object store, Redis and webhook consumers; the only packages that do network I/O."""
