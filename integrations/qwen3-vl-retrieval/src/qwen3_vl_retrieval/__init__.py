"""Multimodal retrieval with Qwen3-VL-Embedding and Qwen3-VL-Reranker."""
