"""What an import says where an optional package is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Names the extra of this package that has what an import inside did not find.

    Args:
        extra: a name from ``[project.optional-dependencies]``.

    Raises:
        ModuleNotFoundError: a package is missing; the message says what to install.

    >>> with needs("quality"):
    ...     import a_package_that_is_missing
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: No module named 'a_package_that_is_missing'; install it with: \
pip install 'dsd_lib[quality]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{error}; install it with: pip install 'dsd_lib[{extra}]'"
        raise ModuleNotFoundError(message, name=error.name, path=error.path) from None
