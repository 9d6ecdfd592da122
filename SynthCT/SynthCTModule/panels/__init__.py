"""The panels of the module, one file for each section of Resources/UI/SynthCT.ui, in the order of the work."""
