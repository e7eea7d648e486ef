"""A real Kubernetes on one machine: kind if Docker's engine is running, else servers compiled from Go modules."""
