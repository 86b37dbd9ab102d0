"""Language models of LlamaIndex that write the questions an index is measured with."""

from llama_index.evaluation.qwen3_vl.question_writers import adapt_llm

__all__ = ["adapt_llm"]
