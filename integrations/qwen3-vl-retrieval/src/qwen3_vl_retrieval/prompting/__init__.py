"""From an item to tokens: prompts, tokenization, truncation and positions. Pure functions."""
