"""Stand-ins for the two widgets of CTK that the module's .ui uses; they look and collapse much like CTK's."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, QEvent, QRect, QSize, Qt, Signal
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

from Testing.module.bench.pythonqt import with_habits


class _Collapsible:
    """Hides its contents and gives the room back while collapsed."""

    _collapsed = False

    def _set_collapsed(self: Any, value: bool) -> None:
        if self._collapsed == bool(value):
            return
        self._collapsed = bool(value)
        for child in self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            child.setVisible(not self._collapsed)
        self.setMaximumHeight(self._header_height() + 4 if self._collapsed else 16777215)
        self.updateGeometry()
        self.update()
        self.contentsCollapsed.emit(self._collapsed)

    def childEvent(self: Any, event: QEvent) -> None:
        if self._collapsed and event.type() == QEvent.Type.ChildAdded and isinstance(event.child(), QWidget):
            event.child().setVisible(False)


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
        painter, style = QPainter(self), self.style()
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect = QRect(0, 0, self.width, self._header_height())
        style.drawControl(QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        arrow = QStyleOptionViewItem()
        arrow.initFrom(self)
        arrow.rect = QRect(6, self._header_height() // 2 - 5, 10, 10)
        name = "PE_IndicatorArrowRight" if self._collapsed else "PE_IndicatorArrowDown"
        style.drawPrimitive(getattr(QStyle.PrimitiveElement, name), arrow, painter, self)
        painter.drawText(option.rect.adjusted(22, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter, QAbstractButton.text(self))
        painter.end()


class ctkCollapsibleGroupBox(_Collapsible, with_habits(QGroupBox)):  # type: ignore[misc]
    """A group box with a title that can be clicked."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, value: self._set_collapsed(value))

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 4

    def paintEvent(self, event: Any) -> None:
        super().paintEvent(event)
        arrow = QStyleOptionViewItem()
        arrow.initFrom(self)
        arrow.rect = QRect(self.width - 18, 4, 10, 10)
        name = "PE_IndicatorArrowRight" if self._collapsed else "PE_IndicatorArrowDown"
        painter = QPainter(self)
        self.style().drawPrimitive(getattr(QStyle.PrimitiveElement, name), arrow, painter, self)
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() <= self._header_height():
            self._set_collapsed(not self._collapsed)
        else:
            super().mousePressEvent(event)
