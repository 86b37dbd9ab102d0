"""Why something was found: the words of a question on a page, and what a score depends on."""
