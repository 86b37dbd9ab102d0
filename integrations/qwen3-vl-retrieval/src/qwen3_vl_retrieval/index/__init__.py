"""A folder searched in memory: files become units, units become vectors, the best are judged."""
