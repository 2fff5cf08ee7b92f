"""``python -m components.gateway``: one gateway pod."""

import sys

from components.gateway.bootstrap import main
from components.process.run import run

SWITCH_S = 0.0005
"""How long the applier's thread or the loop keeps the interpreter while the other waits. With
Python's own 5 ms each statement of the applier may wait so long for a loop that is busy:
`modbot bench capacity` applied 2,400 to 2,700 inputs a second from a log instead of 4,000."""

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_S)
    sys.exit(run(main))
