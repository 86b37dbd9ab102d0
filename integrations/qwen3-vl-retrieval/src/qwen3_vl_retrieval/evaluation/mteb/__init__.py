"""An embedder and a reranker as models of mteb, whose benchmarks then run with them."""
