"""The exceptions for errors that the user can correct."""


class ZooError(Exception):
    """A mistake or a condition that the user can correct.

    Its text is one sentence: what was wrong, with the value; what is allowed; what to do next.
    Programs print it without a traceback and exit with status 2.
    """


class DivergedError(ZooError):
    """The loss is not finite."""


class DamagedError(ZooError):
    """A file or a checkpoint was changed or truncated after it was written."""


class StoppedError(ZooError):
    """A stop was requested: the progress is saved, and the run can be resumed."""
