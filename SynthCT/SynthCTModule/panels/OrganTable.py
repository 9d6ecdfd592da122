"""The table of the organ check: a traffic light, the median density, a click that shows the organ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from SynthCTModule.OrganCheckTable import GREEN, RED, YELLOW, OrganRow
from SynthCTModule.panels.ProblemTable import dot
from SynthCTModule.ResultNodes import jumpTo
from SynthCTModule.Translation import _

_COLORS = {GREEN: "#2e7d32", YELLOW: "#e69f00", RED: "#c62828"}
_GRAY = "#9e9e9e"
_RIGHT = 0x82
"""Qt.AlignRight with Qt.AlignVCenter, as the number that every Qt takes."""


class OrganTable:
    """Fills a table with the rows of a report."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._rows: list[OrganRow] = []
        self._place: Callable[[], list[OrganRow]] | None = None
        table.setHorizontalHeaderLabels([_("Structure"), _("Median HU"), _("Expected")])
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.connect("cellClicked(int,int)", self._onClicked)

    def show(self, rows: list[OrganRow], place: Callable[[], list[OrganRow]]) -> None:
        """Show these rows in place of the earlier ones. ``place`` gives them with their places, at the first click."""
        self._rows, self._place = rows, place
        self._table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            cells = (row.name, _hu(row.medianHu), _range(row))
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.sentence)
                if column > 0:
                    item.setTextAlignment(_RIGHT)
                if column == 0:
                    item.setIcon(dot(_COLORS.get(row.light, _GRAY)))
                self._table.setItem(number, column, item)
        self._table.resizeRowsToContents()

    def _onClicked(self, number: int, _column: int) -> None:
        if self._place is not None:
            self._rows, self._place = self._place(), None
        if self._rows[number].center is not None:
            jumpTo(self._rows[number].center)


def _hu(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _range(row: OrganRow) -> str:
    return "–" if row.low is None or row.high is None else f"{row.low:.0f} … {row.high:.0f}"
