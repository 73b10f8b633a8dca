"""What libraries log, as notes to the user."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence

_ONE_THREAD = threading.RLock()


class _Collector(logging.Handler):
    """Keeps the texts of warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text not in self.texts:
            self.texts.append(text)


@contextlib.contextmanager
def noted(library: str, known: Sequence[str] = ()) -> Iterator[None]:
    """Warns of what is logged through absl within the block, as a warning or worse.

    Where the block raises an error, that error tells what is wrong, and nothing is warned of.

    Args:
        library: whose log it is, for the text of the warning.
        known: parts of texts that are of no interest here.
    """
    logger, collector = logging.getLogger("absl"), _Collector()
    with _ONE_THREAD:
        before = logger.handlers, logger.propagate, logger.level
        logger.handlers, logger.propagate = [collector], False
        logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.handlers, logger.propagate = before[:2]
            logger.setLevel(before[2])
    for text in collector.texts:
        if not any(part in text for part in known):
            warnings.warn(f"{library}: {text}", stacklevel=3)
