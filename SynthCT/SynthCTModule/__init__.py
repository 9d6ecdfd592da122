"""The pieces of the Slicer module SynthCT, one concept per file; nothing is imported or done until it is needed."""
