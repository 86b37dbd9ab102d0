"""Files and items as units, what is embedded and found: pages, windows, chunks, and their previews."""
