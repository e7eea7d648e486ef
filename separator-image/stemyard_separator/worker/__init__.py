"""The worker: leases songs from the desk and separates them one after another, with one engine."""
