"""Manifests of the fetch and separate Jobs. Pure."""
