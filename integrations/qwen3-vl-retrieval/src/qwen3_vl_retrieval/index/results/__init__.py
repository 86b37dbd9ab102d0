"""What a search gives: hits, failures, and how they are shown."""
