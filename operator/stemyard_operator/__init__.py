"""The operator: turns SeparationJobs into Jobs and keeps their status, one decision at a time."""
