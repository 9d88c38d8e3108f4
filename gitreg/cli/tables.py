"""Tables for people (fitted to their terminal) and for other programs: CSV, Markdown.

Drawn here and not by rich, which takes a second for a thousand rows.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Sequence

from gitreg.cli import output
from gitreg.marking import text

FORMATS = ("table", "csv", "md", "json")
_MOST_CELL = 400
_LEAST_WIDTH = 8
# Columns of a word that is not broken as long as there is another way, and when there is none.
_WHOLE, _BROKEN = 24, (16, 10)
_GAP = "   "


def show(
    headers: Sequence[str], rows: Iterable[Sequence[object]], how: str = "table", spare: Sequence[str] = ()
) -> None:
    """Print rows; None is an empty cell.

    On a terminal that is too narrow lines are folded between words, then columns are left out, and when
    that does not help either each row is written below itself.

    Args:
        how: "table", "csv" or "md".
        spare: columns that a narrow terminal does without; the first one goes first.
    """
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if how == "csv":
        _csv(headers, texts)
    elif how == "md":
        lines = [f"| {' | '.join(map(text, row))} |" for row in [headers, *texts]]
        output.lines([lines[0], f"|{'---|' * len(headers)}", *lines[1:]])
    else:
        _table([output.safe(header) for header in headers], texts, spare)


def pairs(lines: Iterable[tuple[str, object]], how: str = "table") -> None:
    """Print names and values; those that are empty are left out."""
    rows = [(name, value) for name, value in lines if value not in (None, "")]
    if how != "table":
        show(["name", "value"], rows, how)
        return
    width = max((len(name) for name, _ in rows), default=0)
    room = shutil.get_terminal_size().columns - width - len(_GAP) if sys.stdout.isatty() else 1 << 20
    for name, value in rows:
        first, *rest = _fold(cell_text(str(value)), max(room, _LEAST_WIDTH)) or [""]
        output.lines([f"{name:{width}}{_GAP}{first}", *(f"{'':{width}}{_GAP}{line}" for line in rest)])


def _csv(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """RFC 4180. A cell that a spreadsheet would take for a formula is made a text by a quote before it."""
    import csv
    import io

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_no_formula(output.safe(cell)) for cell in row] for row in [headers, *rows])
    output.lines(stream.getvalue().removesuffix("\n").split("\n"))


def _no_formula(cell: str) -> str:
    number = re.fullmatch(r"[-+]?([0-9.]+(e[-+]?[0-9]+)?|inf|nan)", cell)
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t")) and not number else cell


def _table(headers: Sequence[str], texts: Sequence[Sequence[str]], spare: Sequence[str]) -> None:
    cells = [[cell_text(cell) for cell in row] for row in texts]
    columns = [*zip(headers, *cells, strict=True)]
    widths: list[int] | None = [max(map(_width, column)) for column in columns]
    left_out: list[str] = []
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        widths = _fitted(columns, room)
        for name in (name for name in spare if name in headers):
            if widths is None:
                left_out.append(name)
                columns = [column for column in columns if column[0] != name]
                widths = _fitted(columns, room)
        for most in _BROKEN:
            widths = widths or _fitted(columns, room, most)
    if widths is None:
        _records(headers, cells)
        return
    _draw(columns, widths)
    if left_out:
        output.say(f"(left out for want of room: {', '.join(left_out)})", err=True)


def _draw(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    headers, *cells = zip(*columns, strict=True)
    lines = [*_lines(headers, widths), "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))]
    for row in cells:
        lines += _lines(row, widths)
    output.lines(lines)


def cell_text(cell: str) -> str:
    """Text on one line that cannot steer the terminal; a very long one is cut."""
    text = cell if len(cell) < 2 * _MOST_CELL else cell[: 2 * _MOST_CELL]
    text = output.safe(" ".join(text.split()))
    return text if len(text) <= _MOST_CELL else f"{text[: _MOST_CELL - 3]}..."


def _records(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Each row as lines of name and value, below what it is of."""
    first = 1 if headers[0] else 2  # a kind has no header, and a name after it
    for i, row in enumerate(rows):
        output.lines([*([""] if i else []), " ".join(cell for cell in row[:first] if cell)])
        pairs((f"  {name}", cell) for name, cell in zip(headers[first:], row[first:], strict=True) if cell)


def _fitted(columns: Sequence[Sequence[str]], room: int, most: int = _WHOLE) -> list[int] | None:
    """Widths that fit without words of so many columns broken; None where there are none.

    The widest columns give way first.
    """
    room -= len(_GAP) * (len(columns) - 1)
    widths = [max(map(_width, column)) for column in columns]
    least = [min(width, _least(column, most)) for width, column in zip(widths, columns, strict=True)]
    while sum(widths) > room:
        able = [i for i, width in enumerate(widths) if width > least[i]]
        if not able:
            return None
        widths[max(able, key=lambda i: widths[i])] -= 1
    return widths


def _least(column: Sequence[str], most: int) -> int:
    words = (_width(word) for cell in column for word in cell.split())
    prose = max(map(_width, column)) > 2 * most
    return most if prose else min(max(words, default=1), most)


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    folded = [_fold(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for i in range(max(map(len, folded))):
        parts = [cell[i] if i < len(cell) else "" for cell in folded]
        padded = (part + " " * (width - _width(part)) for part, width in zip(parts, widths, strict=True))
        lines.append(_GAP.join(padded).rstrip())
    return lines


def _fold(text: str, width: int) -> list[str]:
    """A text in lines of a width, broken between words where that is possible."""
    if _width(text) <= width:
        return [text]
    lines, line = [], ""
    for word in re.findall(r"\s*\S+", text):
        if line and _width(line + word) > width:
            lines.append(line)
            line = ""
            word = word.lstrip()
        while _width(line + word) > width and len(word) > 1:
            at = max(1, _fits(word, width))
            at = next((i for i in range(at, at // 2, -1) if word[i - 1] in "-/._"), at)
            lines.append(word[:at])
            word = word[at:]
        line += word
    return [*lines, line] if line else lines


def _fits(text: str, width: int) -> int:
    used = 0
    for i, char in enumerate(text):
        used += _width(char)
        if used > width:
            return i
    return len(text)


def _width(text: str) -> int:
    """Columns that a terminal needs."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
