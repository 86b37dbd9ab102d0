"""Is it good on one's own documents? Questions with known answers, measures of both stages, and what they can show.

```python
from qwen3_vl_retrieval.evaluation import evaluate_index, read_questions

evaluation = evaluate_index(index, read_questions("questions.jsonl"))
print(evaluation)
```

Needs the extra `evaluation`, and `MTEBEncoder` and `MTEBCrossEncoder` the extra `mteb`; importing this package imports
none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.evaluation.confidence import Difference, Interval, compare_values, estimate_mean
    from qwen3_vl_retrieval.evaluation.datasets import DatasetReport, index_dataset
    from qwen3_vl_retrieval.evaluation.drafting import DraftOptions, DraftReport, draft_questions
    from qwen3_vl_retrieval.evaluation.evaluate import evaluate_index
    from qwen3_vl_retrieval.evaluation.evaluation import Evaluation, compare_evaluations
    from qwen3_vl_retrieval.evaluation.mteb_cross_encoder import MTEBCrossEncoder
    from qwen3_vl_retrieval.evaluation.mteb_encoder import MTEBEncoder
    from qwen3_vl_retrieval.evaluation.question_runs import RunOptions
    from qwen3_vl_retrieval.evaluation.question_writers import DraftPrompt, QuestionWriter, adapt_question_writer
    from qwen3_vl_retrieval.evaluation.questions import Judgement, Question, QuestionSet
    from qwen3_vl_retrieval.evaluation.readers.files import read_questions
    from qwen3_vl_retrieval.evaluation.report import render_report
    from qwen3_vl_retrieval.evaluation.thresholds import fit_thresholds
    from qwen3_vl_retrieval.index.thresholds import FittedThresholds, save_thresholds

__all__ = [
    "DatasetReport",
    "Difference",
    "DraftOptions",
    "DraftPrompt",
    "DraftReport",
    "Evaluation",
    "FittedThresholds",
    "Interval",
    "Judgement",
    "MTEBCrossEncoder",
    "MTEBEncoder",
    "Question",
    "QuestionSet",
    "QuestionWriter",
    "RunOptions",
    "adapt_question_writer",
    "compare_evaluations",
    "compare_values",
    "draft_questions",
    "estimate_mean",
    "evaluate_index",
    "fit_thresholds",
    "index_dataset",
    "read_questions",
    "render_report",
    "save_thresholds",
]

_MODULES = {
    "DatasetReport": "evaluation.datasets",
    "Difference": "evaluation.confidence",
    "DraftOptions": "evaluation.drafting",
    "DraftPrompt": "evaluation.question_writers",
    "DraftReport": "evaluation.drafting",
    "Evaluation": "evaluation.evaluation",
    "FittedThresholds": "index.thresholds",
    "Interval": "evaluation.confidence",
    "Judgement": "evaluation.questions",
    "MTEBCrossEncoder": "evaluation.mteb_cross_encoder",
    "MTEBEncoder": "evaluation.mteb_encoder",
    "Question": "evaluation.questions",
    "QuestionSet": "evaluation.questions",
    "QuestionWriter": "evaluation.question_writers",
    "RunOptions": "evaluation.question_runs",
    "adapt_question_writer": "evaluation.question_writers",
    "compare_evaluations": "evaluation.evaluation",
    "compare_values": "evaluation.confidence",
    "draft_questions": "evaluation.drafting",
    "estimate_mean": "evaluation.confidence",
    "evaluate_index": "evaluation.evaluate",
    "fit_thresholds": "evaluation.thresholds",
    "index_dataset": "evaluation.datasets",
    "read_questions": "evaluation.readers.files",
    "render_report": "evaluation.report",
    "save_thresholds": "index.thresholds",
}

__getattr__ = import_lazily(__name__, _MODULES)
