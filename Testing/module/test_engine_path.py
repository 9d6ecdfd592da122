"""The engine beside the module is imported, and nothing else of a source tree comes before other packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_modules_own_engine_is_used_and_other_packages_keep_their_names(tmp_path: Path) -> None:
    for name in ("SynthCTLib", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    code = (
        f"import sys\nsys.path[:0] = [{str(tmp_path)!r}, {str(ROOT / 'SynthCT')!r}]\n"
        "from SynthCTModule.EnginePath import ensureEngineOnPath\n"
        "ensureEngineOnPath(); ensureEngineOnPath()\n"
        "import SynthCTLib, SynthCTLib.cases, training\nprint(SynthCTLib.__file__)\nprint(training.__file__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    engine, other = map(Path, done.stdout.split())
    assert engine == ROOT / "SynthCTLib" / "__init__.py"
    assert other == tmp_path / "training" / "__init__.py"
