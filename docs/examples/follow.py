"""Follows `/v1/events` as lines of JSON, with the standard library only, and goes on after any interruption.

    AGENTWORKS_URL=http://… TOKEN=… python3 follow.py STORE [UNTIL]

TOKEN is a tenant's or an operator's. With UNTIL it ends at that position. NATS is not needed.
"""

import os
import sys
import time

from events import from_log
from store import Store

if __name__ == "__main__":
    store = Store(sys.argv[1])
    until = int(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    while store.position() < until:
        try:
            for event in from_log(os.environ["AGENTWORKS_URL"], os.environ["TOKEN"], store.position(), follow=True):
                store.apply(event)
                if store.position() >= until:
                    break
        except OSError as error:  # refused, cut, or silent for too long
            print(f"interrupted: {error}; going on behind {store.position()}", file=sys.stderr)
            time.sleep(1)
