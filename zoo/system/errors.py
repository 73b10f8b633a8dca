"""The one exception for what a user can mend."""


class ZooError(Exception):
    """A mistake or a circumstance that the user can mend.

    Its text is one sentence: what was wrong, with the value; what is allowed; what to do next.
    Programs print it without a traceback and exit with status 2.
    """


class DivergedError(ZooError):
    """A loss is not finite any more."""


class DamagedError(ZooError):
    """What was written whole is not whole any more."""


class StoppedError(ZooError):
    """A stop was asked for: what was done is saved, and the run can go on."""
