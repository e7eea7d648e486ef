"""What API and operator share about the object store, by botocore, which the contract never imports."""
