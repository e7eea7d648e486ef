"""The only packages with a wire: the API server, the object store, Redis and the consumers of webhooks."""
