"""The only package with a wire: Redis, the API server, the object store, Cloudflare KV."""
