"""The command ``synthct``: one module per group of subcommands, put together in :mod:`SynthCTLib.cli.main`."""

from SynthCTLib.cli.main import main

__all__ = ["main"]
