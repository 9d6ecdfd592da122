# Slicer writes a package configuration for other extensions here.
