"""A real Kubernetes on one machine: its servers compiled from Go modules, or kind where Docker's engine answers."""
