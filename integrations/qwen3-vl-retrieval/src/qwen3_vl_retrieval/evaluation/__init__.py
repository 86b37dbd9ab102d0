"""Is it good on one's own documents? Questions with known answers, measures of both stages, and what they can show.

```python
from qwen3_vl_retrieval.evaluation import evaluate_index, read_questions

evaluation = evaluate_index(index, read_questions("questions.jsonl"))
print(evaluation)
```

Needs the extra `evaluation`; importing this package imports none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.evaluation.questions import Judgement, Question, QuestionSet
    from qwen3_vl_retrieval.evaluation.readers.files import read_questions

__all__ = ["Judgement", "Question", "QuestionSet", "read_questions"]

_MODULES = {
    "Judgement": "evaluation.questions",
    "Question": "evaluation.questions",
    "QuestionSet": "evaluation.questions",
    "read_questions": "evaluation.readers.files",
}

__getattr__ = import_lazily(__name__, _MODULES)
