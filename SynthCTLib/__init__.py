"""SynthCT: a segmentation becomes a synthetic CT. Start with :func:`SynthCTLib.pipeline.generate`."""

__version__ = "0.1.0"
