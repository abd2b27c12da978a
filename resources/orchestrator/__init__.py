"""Everything that uses Dagster: resources, storage, logs; Dagster's private parts are used in this wing only."""
