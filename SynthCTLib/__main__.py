"""``python -m SynthCTLib``: the same as the command ``synthct``."""

from SynthCTLib.cli import main

raise SystemExit(main())
