"""What API and operator share about the object store, by botocore; the contract itself imports no client library."""
