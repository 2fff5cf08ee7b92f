"""Runs first in every Python process of a stack under chaos, because its folder is on PYTHONPATH.

Imports the modules named in ``MODBOT_CHAOS_INSIDE`` and calls their ``install()``. A process in
which that fails ends at once: chaos that was not installed would look like a product that holds.
"""

import importlib
import os
import sys
import traceback

for _name in filter(None, os.environ.get("MODBOT_CHAOS_INSIDE", "").split(",")):
    try:
        importlib.import_module(_name).install()
    except BaseException:  # whatever it is, site would print it and go on
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
