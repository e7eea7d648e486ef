"""Work beside the reconciler: sweeps, deletions, disaster recovery."""
