"""The API: takes requests for separations, declares them as SeparationJobs and answers for their state."""
