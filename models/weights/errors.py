"""What is wrong with a file of weights."""


class WeightsError(ValueError):
    """A file of weights cannot be read, or is not of this network; the message says why."""


class FetchError(WeightsError):
    """Published weights cannot be fetched: pip has no index, say."""
