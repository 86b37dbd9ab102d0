"""The engine: parts in, hidden states out. Knows tokens, pixels and batches; nothing of scores or vectors."""
