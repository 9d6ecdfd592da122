"""Stand-ins for the two widgets of CTK that the module's .ui uses; they look and collapse much like CTK's."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, QEvent, QObject, QRect, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QAbstractButton,
    QGroupBox,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStyleOptionViewItem,
    QWidget,
)

from Testing.module.bench.pythonqt import own_connect, with_habits


class _Collapsible:
    """Hides its contents and gives the room back while collapsed; what was hidden on its own stays hidden."""

    _collapsed = _acting = False

    def _set_collapsed(self: Any, value: bool) -> None:
        if self._collapsed == bool(value):
            return
        children = self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
        if value:
            self._shown = [child for child in children if not child.isHidden()]
        self._collapsed = bool(value)
        self._acting = True
        for child in self._shown:
            child.setVisible(not value)
        self._acting = False
        self.setMaximumHeight(self._header_height() + 4 if value else 16777215)
        self.updateGeometry()
        self.update()

    def eventFilter(self: Any, child: QObject, event: QEvent) -> bool:
        """A child that is shown or hidden while the contents are collapsed gets its way when they open."""
        if self._collapsed and not self._acting and isinstance(child, QWidget):
            if event.type() == QEvent.Type.ShowToParent:
                self._shown = [*(one for one in self._shown if one is not child), child]
                self._acting = True
                child.hide()
                self._acting = False
            elif event.type() == QEvent.Type.HideToParent:
                self._shown = [one for one in self._shown if one is not child]
        return False

    def childEvent(self: Any, event: QEvent) -> None:
        child = event.child()
        if event.type() == QEvent.Type.ChildAdded and isinstance(child, QWidget):
            child.installEventFilter(self)
            if self._collapsed:
                self._shown = [*self._shown, child]
                self._acting = True
                child.setVisible(False)
                self._acting = False

    def _draw_arrow(self: Any, painter: QPainter, rectangle: QRect) -> None:
        arrow = QStyleOptionViewItem()
        arrow.initFrom(self)
        arrow.rect = rectangle
        name = "PE_IndicatorArrowRight" if self._collapsed else "PE_IndicatorArrowDown"
        self.style().drawPrimitive(getattr(QStyle.PrimitiveElement, name), arrow, painter, self)


@own_connect
class ctkCollapsibleButton(_Collapsible, with_habits(QAbstractButton)):  # type: ignore[misc]
    """A section with a title bar that can be clicked."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.clicked.connect(lambda: self._set_collapsed(not self._collapsed))

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, value: self._set_collapsed(value))

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 8

    def sizeHint(self) -> QSize:
        inner = self.layout().totalSizeHint() if self.layout() and not self._collapsed else QSize(0, 0)
        return QSize(max(inner.width(), 120), max(inner.height(), self._header_height()))

    def minimumSizeHint(self) -> QSize:
        inner = self.layout().totalMinimumSize() if self.layout() and not self._collapsed else QSize(0, 0)
        return QSize(inner.width(), max(inner.height(), self._header_height()))

    def paintEvent(self, _event: Any) -> None:
        painter = QPainter(self)
        height = self._header_height()
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect = QRect(0, 0, self.width, height)
        self.style().drawControl(QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        self._draw_arrow(painter, QRect(6, height // 2 - 5, 10, 10))
        painter.drawText(option.rect.adjusted(22, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter, self.text)
        painter.end()


@own_connect
class ctkCollapsibleGroupBox(_Collapsible, with_habits(QGroupBox)):  # type: ignore[misc]
    """A group box that is collapsed while it is not checked, with an arrow in place of the check mark."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.toggled.connect(lambda on: self._set_collapsed(not on))

    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 4

    def paintEvent(self, _event: Any) -> None:
        painter = QPainter(self)
        height = self._header_height()
        self._draw_arrow(painter, QRect(4, height // 2 - 4, 9, 9))
        painter.drawText(QRect(20, 0, self.width - 24, height), Qt.AlignmentFlag.AlignVCenter, self.title)
        painter.setPen(self.palette.mid().color())
        left = 28 + painter.fontMetrics().horizontalAdvance(self.title)
        painter.drawLine(left, height // 2, self.width - 4, height // 2)
        painter.end()
