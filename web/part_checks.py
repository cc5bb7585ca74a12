"""Checks of the parts of a request: a refusal points at every picture that is at fault, not at the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Fault, MissingPart, PictureRefused


class PartChecks:
    """Collects what is wrong with the parts, one by one; `settle` then refuses them together."""

    def __init__(self) -> None:
        self._refused: list[PictureRefused | MissingPart] = []
        self._faults: list[Fault] = []

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Check one part inside the block; the rest of the block is left out when it is refused."""
        try:
            yield
        except (PictureRefused, MissingPart) as error:
            self._refused.append(error)
            self._faults += error.faults or (Fault(f"/{part}", error.code, error.detail),)

    def settle(self) -> None:
        """Refuse what was found to be at fault, with the kind of the first.

        Raises:
            PictureRefused, MissingPart: naming every part that is at fault.
        """
        if self._refused:
            detail = "; ".join(error.detail for error in self._refused)
            raise type(self._refused[0])(detail, faults=tuple(self._faults)) from self._refused[0]
