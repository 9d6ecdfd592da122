"""A bench on which the module's real code runs without Slicer's desktop: slicer-core for MRML, PySide6 for Qt.

What only the desktop has is stood in for by small files, one concept each; :func:`install` puts them in place.
"""
