"""The language model: rows of any length without padding, and prefixes that are computed once."""
