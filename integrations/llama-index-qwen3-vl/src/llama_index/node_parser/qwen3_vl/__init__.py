"""Documents of images, PDFs and videos as nodes, and the pipelines that ingest them."""

from llama_index.node_parser.qwen3_vl.base import MediaNodeParser
from llama_index.node_parser.qwen3_vl.pages import PDFPageImageParser
from llama_index.node_parser.qwen3_vl.pipelines import MultiModalIngestionPipeline, multimodal_ingestion_pipeline
from llama_index.node_parser.qwen3_vl.segments import VideoSegmenter

__all__ = [
    "MediaNodeParser",
    "MultiModalIngestionPipeline",
    "PDFPageImageParser",
    "VideoSegmenter",
    "multimodal_ingestion_pipeline",
]
