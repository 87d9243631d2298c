"""What is wrong with a dataset."""


class DatasetError(ValueError):
    """A dataset cannot be had, or is damaged; the message says what, and what can be done."""
