"""Watches and lists of SeparationJobs and Jobs, and the cache they keep."""
