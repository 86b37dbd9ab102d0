"""A query on its way through both stages."""
