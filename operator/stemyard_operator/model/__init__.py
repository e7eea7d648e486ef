"""Typed views of SeparationJobs, Jobs and pods."""
