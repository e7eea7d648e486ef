"""`kubectl stemyard`: SeparationJobs by the API server alone, with the rights of a kubeconfig."""
