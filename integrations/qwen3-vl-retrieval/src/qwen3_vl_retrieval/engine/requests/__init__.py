"""From items to requests: media are read, prompts are tokenized, lengths are fitted."""
