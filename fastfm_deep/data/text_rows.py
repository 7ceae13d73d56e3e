"""Blocks of text become rows, on several threads, in the order of the files.

A thread takes a block, parses it into buffers of its own and, when its turn has come, appends the rows to those
before. What depends on the order (line numbers, new columns, the first field of a column) is settled there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import kernels, validation
from fastfm_deep.data.growing import GrowingArray
from fastfm_deep.data.id_map import LARGEST_ID, IdTable
from fastfm_deep.data.text_lines import LineFault, TextRules, first_fault, read_line
from fastfm_deep.kernels.text_layout import Progress, RowBuffers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.text_blocks import Block, TextBlocks

_BYTE_FIELDS = 127  # so many fit into a table of bytes
_MOST_COLUMNS = 2**28  # with fields; their layout takes a gigabyte then
_WAIT = 0.1  # seconds between two looks at whether another thread has failed


class Columns(NamedTuple):
    """How ids become columns while they are read.

    Attributes
    ----------
    hashed_to : int or None
        Number of columns of the hash.
    table : IdTable or None
    growing : bool
        New ids get a new column in the table.
    """

    hashed_to: int | None = None
    table: IdTable | None = None
    growing: bool = False


class _Parsed(NamedTuple):
    """The rows of a block, in the buffers of a thread."""

    block: Block
    progress: Progress
    rows: RowBuffers
    fields: NDArray[np.int32] | None
    news: tuple[NDArray[Any], NDArray[Any]] | None  # columns and fields not known before
    fault: LineFault | None


class _Buffers:
    """What a thread parses into; made anew only for blocks longer than all before."""

    def __init__(self, with_fields: bool) -> None:
        self._with_fields = with_fields
        self._room = -1

    def for_block(self, block: Block) -> tuple[RowBuffers, NDArray[np.int32] | None]:
        room = len(block.buffer)
        if room > self._room:
            # A row takes two bytes at least, a pair four.
            n_rows, n_pairs = room // 2 + 1, room // 4 + 1
            self._rows = RowBuffers(
                np.empty(n_rows),
                np.empty(n_rows, np.int64),
                np.empty(n_pairs, np.int64),
                np.empty(n_pairs, np.float32),
            )
            self._fields = np.empty(n_pairs, np.int32) if self._with_fields else None
            self.new_columns, self.new_fields = np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int32)
            self._room = room
        return self._rows, self._fields


class RowCollector:
    """All rows so far.

    Parameters
    ----------
    rules : TextRules
    columns : Columns
    keep_fields : bool
        Note which field each column has.

    Attributes
    ----------
    labels, ends, columns, values : GrowingArray
        NaN for no label; where the pairs of each row end; columns or, with plain offsets, ids less the base.
    known_fields : int8 or int32 array
        See `kernels.ids`; longer than needed. Looked up for each pair, so bytes as long as they will do.
    n_left_out : int
    least : int
        The least id.
    most : int
        The largest id.
    doubtful : tuple of (path, lines before, content), or None
        The first block with an id beyond `watched`.
    """

    def __init__(
        self, rules: TextRules, columns: Columns, *, keep_fields: bool, watched: int | None, width: int | None
    ) -> None:
        self.rules = rules
        self._columns = columns
        self._keep_fields = keep_fields
        self._watched, self._width = watched, width
        self.labels = GrowingArray(np.float64)
        self.ends = GrowingArray(np.int64)
        self.columns = GrowingArray(np.int32 if (columns.hashed_to or 0) <= 2**31 else np.int64)
        self.values = GrowingArray(np.float32)
        self.known_fields: NDArray[Any] = np.zeros(0, np.int8)
        self.n_left_out, self.least, self.most = 0, LARGEST_ID, -1
        self.doubtful: tuple[str, int, bytes] | None = None
        self._turn = threading.Condition()
        self._next = 0
        self._path = ""
        self._n_lines = 0
        self._failed = False

    def collect(self, blocks: TextBlocks, n_threads: int, settle: Callable[[Block], TextRules | None]) -> None:
        """Read all blocks.

        Parameters
        ----------
        blocks : TextBlocks
        n_threads : int
            The caller's is one of them.
        settle : callable
            Told one block after the other until it knows the rules.

        Raises
        ------
        InputError
            The first fault in the order of the files.
        """
        try:
            self.collect_batch(blocks, n_threads, settle)
        finally:
            self._failed = True
            blocks.stop()
            blocks.close()

    def collect_batch(
        self, blocks: TextBlocks, n_threads: int, settle: Callable[[Block], TextRules | None]
    ) -> None:
        """Read the blocks of a batch, as `collect` does; the caller stops and closes them in the end."""
        buffer = blocks.new_buffer()
        block = blocks.take(buffer)
        plain = _Buffers(with_fields=False)
        while block is not None:
            rules = settle(block)
            if rules is not None:
                self.rules = rules
                break
            self._append(self._parse(block, plain))  # no pairs: any format will do
            block = blocks.take(buffer)
        if block is None:
            return
        errors: list[BaseException] = []

        def work_beside() -> None:
            try:
                self._work(blocks, blocks.new_buffer(), None)
            except BaseException as error:
                errors.append(error)
                self._fail(blocks)
            finally:
                if self._failed:  # the caller may not wait for this thread, which then is the one to close
                    blocks.close()

        threads = [threading.Thread(target=work_beside, daemon=True) for _ in range(n_threads - 1)]
        started = []
        for thread in threads:
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: fewer do the same work
                break
            started.append(thread)
        try:
            self._work(blocks, buffer, block)
        except BaseException:
            # Not waited for: one may be reading a pipe that nobody writes to. It ends at its next block.
            self._fail(blocks)
            raise
        for thread in started:
            while thread.is_alive() and not errors:
                thread.join(_WAIT)
        if errors:
            raise errors[0]

    def _fail(self, blocks: TextBlocks) -> None:
        blocks.stop()
        with self._turn:
            self._failed = True
            self._turn.notify_all()

    def _work(self, blocks: TextBlocks, buffer: bytearray, block: Block | None) -> None:
        """Parse and append blocks until there are no more."""
        buffers = _Buffers(self.rules.with_fields)
        if block is None:
            block = self._take(blocks, buffer)
        while block is not None:
            parsed = self._parse(block, buffers)
            with self._turn:
                if not self._await_turn(block.number):
                    return
                self._append(parsed)
                self._turn.notify_all()
            block = self._take(blocks, block.buffer if len(block.buffer) <= 4 * len(buffer) else buffer)

    def _take(self, blocks: TextBlocks, buffer: bytearray) -> Block | None:
        """The next block; a file that cannot be read on is told of after all faults before that place."""
        try:
            return blocks.take(buffer)
        except validation.InputError:
            with self._turn:
                if self._await_turn(blocks.n_taken):
                    raise
            return None

    def _await_turn(self, number: int) -> bool:
        """Wait until all blocks before this one are appended; False if that will not happen."""
        while self._next != number and not self._failed:
            self._turn.wait(_WAIT)
        return not self._failed

    def _parse(self, block: Block, buffers: _Buffers) -> _Parsed:
        """The rows of a block, up to its first fault."""
        rows, fields = buffers.for_block(block)
        text = block.text()
        progress = Progress(0, 0, 0, 0, 0, LARGEST_ID, -1)
        fault = None
        while True:
            progress = Progress(*kernels.text.read_rows(text, block.end, progress, self.rules.line, rows, fields))
            if progress.at >= block.end:
                break
            try:
                progress = self._read_odd_line(block, progress, rows, fields)
            except LineFault as first:
                fault = first
                break
        progress, fault = self._map_ids(block, progress, rows, fields, fault)
        news = None
        if fields is not None and self._keep_fields and not self._columns.growing:
            n_pairs = progress.n_pairs
            found = buffers.new_columns, buffers.new_fields
            n_new = kernels.ids.find_new_fields(
                rows.columns[:n_pairs], fields[:n_pairs], self.known_fields, *found
            )
            news = found[0][:n_new], found[1][:n_new]
        return _Parsed(block, progress, rows, fields, news, fault)

    def _read_odd_line(self, block: Block, progress: Progress, rows: RowBuffers, fields: Any) -> Progress:
        """Read a line that the kernel leaves to Python."""
        stop = block.buffer.find(b"\n", progress.at)
        row = read_line(bytes(memoryview(block.buffer)[progress.at : stop]), self.rules)
        n_rows, n_pairs = progress.n_rows, progress.n_pairs
        progress = progress._replace(at=stop + 1, n_lines=progress.n_lines + 1)
        if row is None:
            return progress
        end = n_pairs + len(row.columns)
        rows.columns[n_pairs:end] = row.columns
        rows.values[n_pairs:end] = row.values
        if fields is not None:
            fields[n_pairs:end] = row.fields
        rows.labels[n_rows], rows.ends[n_rows] = row.label, end
        return progress._replace(
            n_rows=n_rows + 1,
            n_pairs=end,
            n_left_out=progress.n_left_out + row.n_left_out,
            least=min(progress.least, row.least),
            most=max(progress.most, row.most),
        )

    def _map_ids(
        self, block: Block, progress: Progress, rows: RowBuffers, fields: Any, fault: LineFault | None
    ) -> tuple[Progress, LineFault | None]:
        """Columns in the place of ids, where that needs no turn."""
        hashed_to, table, growing = self._columns
        columns = rows.columns[: progress.n_pairs]
        if hashed_to is not None:
            kernels.ids.hash_columns(columns, hashed_to)
        elif table is not None and not growing:
            table.find(columns)
            unknown = columns.min(initial=0) < 0
            if not self.rules.line.leave_out and (unknown or fault is not None):
                return self._first_fault(block, table)
            if unknown:
                kept = kernels.ids.drop_beyond(
                    columns, rows.values, fields, rows.ends[: progress.n_rows], LARGEST_ID
                )
                n_left_out = progress.n_left_out + progress.n_pairs - kept
                progress = progress._replace(n_pairs=kept, n_left_out=n_left_out)
        return progress, fault

    def _first_fault(self, block: Block, table: IdTable) -> tuple[Progress, LineFault]:
        """The first fault of a block, ids that the table does not know being faults."""
        rules = self.rules._replace(known=table.knows)
        found = first_fault(bytes(memoryview(block.buffer)[: block.end]).split(b"\n"), rules)
        assert found is not None
        n_lines, fault = found
        return Progress(0, 0, 0, n_lines, 0, LARGEST_ID, -1), fault

    def _append(self, parsed: _Parsed) -> None:
        """Take over the rows of the block whose turn it is."""
        block, progress, rows, fields, news, fault = parsed
        if block.path != self._path:
            self._path, self._n_lines = block.path, 0
        if fault is not None:
            raise fault.error(block.path, self._n_lines + progress.n_lines + 1)
        n_rows, n_pairs = progress.n_rows, progress.n_pairs
        columns = rows.columns[:n_pairs]
        if self._columns.growing:
            assert self._columns.table is not None
            self._columns.table.add(columns)
            if fields is not None and self._keep_fields:
                news = columns, fields[:n_pairs]
        elif self._columns.table is None and self._columns.hashed_to is None:
            if self._watched is not None and self.doubtful is None and progress.most >= self._watched:
                self.doubtful = block.path, self._n_lines, bytes(memoryview(block.buffer)[: block.end])
            if progress.most - self.rules.line.base >= 2**31 and self.columns.dtype == np.int32:
                self.columns.widen(np.int64)
        if news is not None and len(news[0]):
            self._note_fields(*news)
        ends = rows.ends[:n_rows]
        ends += len(self.columns)
        self.labels.append(rows.labels[:n_rows])
        self.ends.append(ends)
        self.columns.append(columns)
        self.values.append(rows.values[:n_pairs])
        self.n_left_out += progress.n_left_out
        self.least = min(self.least, progress.least)
        self.most = max(self.most, progress.most)
        self._n_lines += progress.n_lines
        self._next += 1

    def _note_fields(self, columns: NDArray[Any], fields: NDArray[Any]) -> None:
        if self._width is not None and len(columns) and columns.max() > self._width:
            # Ids that are left out later, with the base known; the last one of base 1 may be among the others.
            kept = columns <= self._width
            columns, fields = columns[kept], fields[kept]
            if not len(columns):
                return
        width = int(columns.max()) + 1
        if width > len(self.known_fields):
            _check_room(width)
            known = np.zeros(max(2 * len(self.known_fields), width), self.known_fields.dtype)
            known[: len(self.known_fields)] = self.known_fields
            self.known_fields = known
        if self.known_fields.dtype == np.int8 and fields.max() >= _BYTE_FIELDS:
            self.known_fields = self.known_fields.astype(np.int32)
        kernels.ids.note_fields(columns, fields, self.known_fields)


def _check_room(n_columns: int) -> None:
    """Refuse a table of fields that one stray id has made too large, before it is made."""
    if n_columns > _MOST_COLUMNS:
        raise validation.field_table_error(n_columns, _MOST_COLUMNS)
