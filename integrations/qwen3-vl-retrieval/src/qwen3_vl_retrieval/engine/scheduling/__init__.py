"""Which requests are computed when, and together: callers, batches, and what need not be computed twice."""
