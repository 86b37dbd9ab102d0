"""Single operations that are faster than the plain ones, each with the plain one to compare with."""
