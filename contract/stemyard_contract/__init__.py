"""The contract: types, names and pure functions that the API, the operator and the separator share."""
