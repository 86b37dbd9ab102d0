"""Questions and judgements in the files that people have: one module for each kind of files."""
