"""Clients of Redis, the API server, the object store and Cloudflare KV; the only package that does network I/O."""
