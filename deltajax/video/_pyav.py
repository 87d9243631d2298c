"""PyAV, imported on first use: only reading and writing files needs it."""

from types import ModuleType


def import_av() -> ModuleType:
    """Returns the module `av`.

    Raises:
        ImportError: PyAV is not installed; the message says how to install it.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "reading and writing video needs PyAV: pip install deltajax[video]"
        ) from error
    return av
