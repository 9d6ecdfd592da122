"""Stands for PythonSlicer: starts Python as a child with the given arguments, waits, and passes its exit code on.

As the real launcher (commontk/AppLauncher) it shares its standard streams with the child, and it answers 1 for a child
that was killed.
"""

import subprocess
import sys

code = subprocess.run([sys.executable, *sys.argv[1:]]).returncode
sys.exit(1 if code < 0 else code)
