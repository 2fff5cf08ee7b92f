"""``python -m components.gateway``: one gateway pod."""

import sys

from components.gateway.bootstrap import main
from components.process.run import run

SWITCH_S = 0.0005
"""How long the applier's thread or the loop keeps the interpreter while the other waits, instead of
Python's own 5 ms. Not settled: in turn and beside other work `modbot bench capacity` applied 3,951
inputs a second so, and 2,738 and 2,366 with 5 ms, which alone on the machine reached 4,043."""

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_S)
    sys.exit(run(main))
