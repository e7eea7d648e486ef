"""Several songs for one worker against a Job for each: how long a device is held for what it computes."""
