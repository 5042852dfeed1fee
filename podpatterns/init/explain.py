"""What the steps would do, in words; nothing is asked, fetched or written."""

from __future__ import annotations

from collections.abc import Iterator

from podpatterns.init.config import InitConfig


def explain(config: InitConfig, sample: str | None) -> Iterator[str]:
    """Lines for people: each step in its order, then the common deadline.

    `sample` is the text of a template, which each `render` step shows rendered with its values.
    """
    count = len(config.steps)
    for number, (name, step) in enumerate(zip(config.names, config.steps, strict=True), 1):
        first, *more = step.explain()
        yield f"{number}. {name}: {first}"
        yield from (f"   {line}" for line in more)
        if sample is not None and hasattr(step, "preview"):
            yield from (f"   | {line}" for line in step.preview(sample))
    yield (
        f"all {count} steps within {config.deadline}, else the container fails"
        if count > 1
        else (f"within {config.deadline}, else the container fails")
    )
