"""``slicer.parameterNodeWrapper`` as far as the module uses it: typed fields on a node, and widgets bound to them.

Values are stored as Slicer stores them: numbers and booleans as text, an enum by the name of its member, a node as a
reference. Like Slicer's it keeps what it has read until the node says that it was modified.
"""

from __future__ import annotations

import enum
import types
import typing
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import vtk
from slicer import vtkMRMLNode
from slicer.util import NodeModify


@dataclass(frozen=True)
class WithinRange:
    """Limits of a number; a value outside of them is refused."""

    minimum: float
    maximum: float


class _Field:
    """A field of the wrapped class: reads and writes one parameter."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name = name
        self.type, *annotations = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else [hint]
        self.range = next((one for one in annotations if isinstance(one, WithinRange)), None)
        parts = typing.get_args(self.type) if isinstance(self.type, types.UnionType) else (self.type,)
        self.node_types = tuple(one for one in parts if isinstance(one, type) and issubclass(one, vtkMRMLNode))
        self.default = default if default is not None or self.node_types else self._empty()

    def _empty(self) -> Any:
        return next(iter(self.type)) if issubclass(self.type, enum.Enum) else self.type()

    def read(self, node: Any) -> Any:
        if self.node_types:
            return node.GetNodeReference(self.name)
        if not node.HasParameter(self.name):
            return self.default
        text = node.GetParameter(self.name)
        if issubclass(self.type, enum.Enum):
            return self.type[text]
        return text == "True" if self.type is bool else self.type(text)

    def write(self, node: Any, value: Any) -> None:
        if self.node_types:
            if value is not None and not isinstance(value, self.node_types):
                raise TypeError(f"{self.name} cannot hold a {value.GetClassName()}")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        allowed = (int, float) if self.type is float else self.type
        if not isinstance(value, allowed):
            raise TypeError(f"{self.name} must be {self.type.__name__}, not {value!r}")
        if self.range is not None and not self.range.minimum <= value <= self.range.maximum:
            raise ValueError(f"{self.name} must lie in {self.range.minimum} to {self.range.maximum}, not {value}")
        node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def attribute(self) -> property:
        return property(lambda own: own._values[self.name], lambda own, value: own._write(self, value))


def parameterNodeWrapper(cls: type) -> type:
    """Turns the annotated class into one whose fields live on a parameter node."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {name: _Field(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    members: dict[str, Any] = {name: field.attribute() for name, field in fields.items()}
    members["allParameters"] = fields
    members["__doc__"] = cls.__doc__
    return type(cls.__name__, (_Wrapper,), members)


class _Wrapper:
    allParameters: dict[str, _Field]

    def __init__(self, node: Any) -> None:
        self.parameterNode = node
        self._bound: dict[int, tuple[int, list[_Binding]]] = {}
        self._updating = False
        for field in self.allParameters.values():
            if not field.node_types and not node.HasParameter(field.name):
                field.write(node, field.default)
        self._values: dict[str, Any] = {}
        self._read()
        kept = weakref.ref(self)
        tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda _caller, _event: kept()._read())
        weakref.finalize(self, node.RemoveObserver, tag)

    def _read(self) -> None:
        self._values = {name: field.read(self.parameterNode) for name, field in self.allParameters.items()}

    def _write(self, field: _Field, value: Any) -> None:
        with NodeModify(self.parameterNode):  # the new value is there before anybody is told
            field.write(self.parameterNode, value)
            self._values[field.name] = field.read(self.parameterNode)

    def StartModify(self) -> Any:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified: Any) -> None:
        self.parameterNode.EndModify(was_modified)

    def AddObserver(self, event: Any, callback: Callable[..., Any], priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, ui: Any) -> int:
        """Bind every widget that has the property SlicerParameterName; returns a tag for :meth:`disconnectGui`."""
        bindings = []
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if name:
                if name not in self.allParameters:
                    raise ValueError(f"Cannot find a param with the given name: {name}")
                bindings.append(_Binding(widget, self.allParameters[name]))
        for binding in bindings:
            binding.show(getattr(self, binding.field.name))
            binding.connect(lambda binding=binding: self._from_widget(binding))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda _caller, _event: self._to_widgets())
        tag = len(self._bound)
        self._bound[tag] = (observer, bindings)
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo :meth:`connectGui`."""
        if tag in self._bound:
            observer, bindings = self._bound.pop(tag)
            self.RemoveObserver(observer)
            for binding in bindings:
                binding.disconnect()

    def _from_widget(self, binding: _Binding) -> None:
        if not self._updating:
            with NodeModify(self):
                setattr(self, binding.field.name, binding.value())

    def _to_widgets(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            for _observer, bindings in self._bound.values():
                for binding in bindings:
                    binding.show(getattr(self, binding.field.name))
        finally:
            self._updating = False


class _Binding:
    """One widget and its field; which widgets fit which types is Slicer's rule."""

    def __init__(self, widget: Any, field: _Field) -> None:
        self.widget, self.field = widget, field
        self._slot: Callable[[], None] | None = None
        kind = type(widget).__name__
        if field.node_types and kind == "qMRMLNodeComboBox":
            widget.nodeTypes = [node_type().GetClassName() for node_type in field.node_types]
            self._use(widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)
        elif field.type is bool and kind in ("QCheckBox", "QPushButton"):
            self._use(widget.toggled, lambda: widget.checked, widget.setChecked)
        elif (field.type, kind) in ((int, "QSpinBox"), (float, "QDoubleSpinBox")):
            if field.range is not None:
                widget.setRange(field.range.minimum, field.range.maximum)
            self._use(widget.valueChanged, lambda: widget.value, widget.setValue)
        elif field.type is str and kind == "QLineEdit":
            self._use(widget.textChanged, lambda: widget.text, widget.setText)
        elif kind == "QComboBox" and isinstance(field.type, type) and issubclass(field.type, enum.Enum):
            members = list(field.type)
            label = getattr(field.type, "label", lambda member: member.name)
            widget.clear()
            for member in members:
                widget.addItem(label(member))
            self._use(
                widget.currentIndexChanged,
                lambda: members[widget.currentIndex],
                lambda value: widget.setCurrentIndex(members.index(value)),
            )
        else:
            raise RuntimeError(f"Slicer has no connection between {kind} and {field.name}.")

    def _use(self, signal: Any, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self._signal, self.value, self.show = signal, read, write

    def connect(self, changed: Callable[[], None]) -> None:
        self._slot = lambda *_values: changed()
        self._signal.connect(self._slot)

    def disconnect(self) -> None:
        self._signal.disconnect(self._slot)
