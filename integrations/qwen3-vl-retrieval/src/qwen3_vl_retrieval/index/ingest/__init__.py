"""Files on their way into the index: found, read, recognised, embedded and stored."""
