"""The init pattern: steps that run to completion before the primary container starts."""
