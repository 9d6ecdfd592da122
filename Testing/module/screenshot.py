"""Picture of the module's panel: ``python -m Testing.module.screenshot [docs/images/module.png]``.

It runs the module's code on the bench (PySide6 offscreen, slicer-core), with the sample case loaded and the recorded
result of a run. Colors and fonts are Qt's, so a real Slicer looks a little different. ``QT_SCALE_FACTOR=1.5`` gives the
panel as on a screen at 150 %.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from Testing.module.bench.fake_worker import FakeFamily
from Testing.module.bench.install import install, make_widget

WIDTH = 450


def main(path: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        application = install(Path(folder))
        family = FakeFamily()
        widget = make_widget(family)
        family.finish()
        widget.ui.sampleCaseButton.click()
        widget.ui.generateButton.click()
        family.finish()
        picture = _grab(widget.parent, application)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(str(path))
        widget.cleanup()


def _grab(panel: Any, application: Any) -> Any:
    """The whole panel at the width of Slicer's module panel, as high as it needs to be."""
    panel.setStyleSheet("QWidget { font-size: 9pt; }")
    for _round in range(3):  # wrapped labels settle after the layout knows its width
        panel.resize(WIDTH, panel.layout().totalHeightForWidth(WIDTH))
        application.processEvents()
    return panel.grab()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/module.png"))
