"""A module ``qt`` made of PySide6 with the habits of PythonQt, in which Slicer's Python code is written.

In PythonQt a Qt property is a plain attribute (``button.enabled``, ``label.text = "…"``) while its getter is no method,
``objectName`` is also called ``name``, ``connect("clicked(bool)", function)`` is a method of the sender, an attribute
that does not exist cannot be set, no property can be set to None, and file dialogs return a path alone.
"""

from __future__ import annotations

import types
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

# These are virtual functions in C++, which Qt itself calls on the Python object; the last is a static function as well.
_NOT_AS_PROPERTY = {"sizeHint", "minimumSizeHint", "singleShot"}


def _connect(self: Any, signature: str, function: Callable[..., Any]) -> bool:
    """Connect a signal given as ``name(types)``; raises ValueError when there is none of this name and types."""
    _signal(self, signature).connect(function)
    return True


def _disconnect(self: Any, signature: str, function: Callable[..., Any]) -> bool:
    _signal(self, signature).disconnect(function)
    return True


def _signal(sender: Any, signature: str) -> Any:
    name, _, arguments = signature.partition("(")
    meta = sender.metaObject()
    own = {bytes(meta.method(index).methodSignature().data()).decode() for index in range(meta.methodCount())}
    is_vtk = "vtk" in arguments  # signals of placeholders for qMRML widgets carry Python objects
    if not hasattr(sender, name) or (not is_vtk and signature.replace(" ", "") not in own):
        raise ValueError(f"{type(sender).__name__} has no signal {signature}")
    return getattr(sender, name)


def with_habits(base: type) -> type:
    """A subclass of a PySide6 class that behaves as PythonQt's; its meta object's properties become attributes."""
    meta = base.staticMetaObject  # type: ignore[attr-defined]
    names = [meta.property(index).name() for index in range(meta.propertyCount())]
    members: dict[str, Any] = {name: _attribute(base, name) for name in names if name not in _NOT_AS_PROPERTY}
    members |= {"connect": _connect, "disconnect": _disconnect, "name": members["objectName"]}
    members["__setattr__"] = _setter_of_known_attributes(base)
    return types.new_class(base.__name__, (base,), {}, lambda namespace: namespace.update(members))


def own_connect(cls: type) -> type:
    """Decorator for subclasses: PySide6 finds its own ``connect`` unless the class itself has one."""
    cls.connect, cls.disconnect = _connect, _disconnect  # type: ignore[attr-defined]
    return cls


def _setter_of_known_attributes(base: type) -> Callable[[Any, str, Any], None]:
    def set_attribute(self: Any, attribute: str, value: Any) -> None:
        # PySide's QUiLoader gives the root of a .ui its children as attributes, which PythonQt does not.
        is_child = isinstance(value, QtCore.QObject) and value.parent() is not None
        if not attribute.startswith("_") and not is_child and not hasattr(type(self), attribute):
            raise AttributeError(f"{type(self).__name__} has no attribute '{attribute}'")
        base.__setattr__(self, attribute, value)

    return set_attribute


def _attribute(base: type, name: str) -> property:
    setter = getattr(base, f"set{name[0].upper()}{name[1:]}", None)

    def read(self: Any) -> Any:
        return QtCore.QObject.property(self, name)

    def write(self: Any, value: Any) -> None:
        if value is None:
            raise AttributeError(f"Property '{name}' does not accept an object of type NoneType (None)")
        if setter is not None:
            setter(self, value)
        elif not QtCore.QObject.setProperty(self, name, value):
            raise AttributeError(f"{name} of {base.__name__} cannot be set")

    return property(read, write)


class _FileDialog:
    """The answers of file dialogs: a test puts paths into ``answers``; without an answer the dialog is canceled."""

    answers: ClassVar[list[str]] = []

    @classmethod
    def _answer(cls, *_arguments: Any) -> str:
        return cls.answers.pop(0) if cls.answers else ""

    getOpenFileName = getSaveFileName = getExistingDirectory = _answer

    @classmethod
    def getOpenFileNames(cls, *_arguments: Any) -> tuple[str, ...]:
        """All answers at once."""
        answers, cls.answers = cls.answers, []
        return tuple(answers)


class _DesktopServices:
    """Opens nothing; remembers what would have been opened."""

    opened: ClassVar[list[str]] = []

    @classmethod
    def openUrl(cls, url: QtCore.QUrl) -> bool:
        cls.opened.append(url.toLocalFile() or url.toString())
        return True


def make_qt(custom_widgets: dict[str, type]) -> types.ModuleType:
    """The module ``qt``; its QUiLoader knows ``custom_widgets`` beside Qt's own."""
    qt = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name.startswith("Q"):
                setattr(qt, name, getattr(source, name))
    widgets = {
        name: with_habits(value)
        for name, value in vars(QtWidgets).items()
        if isinstance(value, type) and issubclass(value, QtWidgets.QWidget)
    }
    for name, value in widgets.items():
        setattr(qt, name, value)
    qt.QTimer = with_habits(QtCore.QTimer)
    qt.QFileDialog = _FileDialog
    qt.QDesktopServices = _DesktopServices
    known = {**widgets, **custom_widgets}

    class QUiLoader(QtUiTools.QUiLoader):
        """Makes the widgets of ``qt`` in place of PySide6's."""

        def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
            if class_name not in known:
                raise ValueError(f"The .ui uses {class_name}, for which the bench has no stand-in.")
            widget = known[class_name](parent)
            widget.setObjectName(name)
            return widget

        def load(self, file: Any, parent: Any = None) -> Any:
            root = super().load(file, parent)
            connections = ElementTree.parse(file.fileName()).iter("connection")
            root._receivers = tuple(
                one.findtext("receiver", "") for one in connections if "mrmlSceneChanged" in one.findtext("signal", "")
            )
            return root

    qt.QUiLoader = QUiLoader
    return qt
