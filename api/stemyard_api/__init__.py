"""The REST API: accepts requests for separations, creates SeparationJobs and returns their state."""
