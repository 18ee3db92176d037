"""In which order rows of chunks take their turns, and what a chunk waits for.

Positions in the file are prefix sums, so encoded tiles wait for the rows above. Dask
orders tasks by its own rules, and may encode a whole scene before it places the first
row, or leave the small levels for last and keep all pixels handed up. So chunks wait
for earlier turns to be placed, and for all but the last few chunks before them: memory
then holds about one row, whatever the scene, and no thread idles at the end of a row
because its last chunks were left over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lazycog._grid import Stage


@dataclass(frozen=True)
class Turns:
    """Order of the rows of chunks of all stages."""

    stages: tuple[Stage, ...]
    together: bool
    """Whether all groups of bands take a row's turn together, since the source's chunks
    hold several of them; otherwise group follows group."""
    lookahead: int
    """Chunks that may run ahead of their turn, so that no thread idles at its end."""
    window: int
    """Chunks that may be on their way from the first that is not encoded."""

    def turn(self, stage: Stage, group: int, row: int) -> int:
        """Give the turn of a row of chunks, within its stage."""
        return row if self.together else group * stage.chunk_rows + row

    def position(self, stage: Stage, group: int, row: int, col: int) -> int:
        """Give the place of a chunk in the order of its stage."""
        turn = self.turn(stage, group, row)
        inside = col * stage.groups + group if self.together else col
        return turn * self._per_turn(stage) + inside

    def _per_turn(self, stage: Stage) -> int:
        """Count the chunks of a turn."""
        return stage.chunk_cols * (stage.groups if self.together else 1)

    def waits_for(
        self, stage: Stage, group: int, row: int, col: int
    ) -> list[tuple[int, int]]:
        """Give what must be placed before a chunk starts, as (stage, turn).

        The turn before its own, but for the lookahead, and the turns of the next stage
        that need nothing later.
        """
        position = self.position(stage, group, row, col) - self.lookahead
        finished = position // self._per_turn(stage) - 1
        if finished < 0:
            return []
        above = self._above(stage, finished)
        return [(stage.index, finished)] + [(stage.index + 1, above)] * (above >= 0)

    def before(
        self, stage: Stage, group: int, row: int, col: int, chunks: int
    ) -> tuple[int, int, int] | None:
        """Give the chunk that many places before, None where there is none."""
        position = self.position(stage, group, row, col) - chunks
        if position < 0:
            return None
        turn, inside = divmod(position, self._per_turn(stage))
        if self.together:
            col, group = divmod(inside, stage.groups)
            return group, turn, col
        group, row = divmod(turn, stage.chunk_rows)
        return group, row, inside

    def _above(self, stage: Stage, finished: int) -> int:
        """Give the last turn of the next stage that a finished turn makes possible."""
        ready = self._rows_above[stage.index]
        if not ready:
            return -1
        if self.together:
            return ready[finished]
        group, row = divmod(finished, stage.chunk_rows)
        return group * self.stages[stage.index + 1].chunk_rows + ready[row]

    @cached_property
    def _rows_above(self) -> list[list[int]]:
        """Per stage and row of chunks, the last row of the next stage that is ready."""
        pairs = zip(self.stages, self.stages[1:], strict=False)
        return [*(_rows_ready(stage, above) for stage, above in pairs), []]


def _rows_ready(stage: Stage, above: Stage) -> list[int]:
    """Give, per row of chunks, the last row of the next stage that needs no later one.

    -1 where there is none yet.
    """
    ready, result = -1, []
    for row in range(stage.chunk_rows):
        stop = stage.axis_chunk(0, row).own[-1].stop
        while (
            ready + 1 < above.chunk_rows
            and above.axis_chunk(0, ready + 1).need[0].stop <= stop
        ):
            ready += 1
        result.append(ready)
    return result
