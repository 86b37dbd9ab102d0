"""From hidden states to results: pooling, scores, precisions and vectors. Pure functions."""
