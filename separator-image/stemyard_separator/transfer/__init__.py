"""Transfers over the network, except YouTube: the desk, the object store and direct links."""
