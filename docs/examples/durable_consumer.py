"""A durable JetStream consumer, with the stock client `nats-py`, that misses nothing and does nothing twice.

    NATS_URL=nats://… AGENTWORKS_URL=http://… TOKEN=… python3 durable_consumer.py STORE [UNTIL]

TOKEN is an operator's: a partition carries the events of all tenants. With UNTIL it ends at that position.
"""

import asyncio
import os
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from events import from_log, from_message
from store import Store

SUBJECT = "evt.0.*"  # a whole partition: only it has an order without gaps
DURABLE = "example-python"
CONFIG = ConsumerConfig(
    ack_policy=AckPolicy.EXPLICIT,  # what was not acknowledged comes again
    deliver_policy=DeliverPolicy.ALL,  # the store knows where to go on; what it has is dropped
    ack_wait=30,
    max_ack_pending=1024,
)
QUIET = 2.0  # seconds without a message after which the log is asked


class Consumer:
    def __init__(self, store):
        self.store = store

    def take(self, event):
        """Applies the next event; drops what is known; reads what is missing from the log."""
        at, position = self.store.position(), int(event["position"])
        if position <= at:
            return
        if position > at + 1:
            self.catch_up()
        if position == self.store.position() + 1:
            self.store.apply(event)

    def catch_up(self):
        """The bus is a hint, the log is the truth."""
        for event in from_log(os.environ["AGENTWORKS_URL"], os.environ["TOKEN"], self.store.position()):
            self.store.apply(event)


async def follow(consumer, until):
    connection = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1)
    stream = connection.jetstream()
    while True:
        try:
            # Made when it is not there: it goes with the stream when somebody deletes that.
            messages = await stream.pull_subscribe(SUBJECT, durable=DURABLE, stream="EVENTS", config=CONFIG)
            while consumer.store.position() < until:
                try:
                    page = await messages.fetch(256, timeout=QUIET)
                except nats.errors.TimeoutError:
                    consumer.catch_up()
                    continue
                for message in page:
                    consumer.take(from_message(message.headers, message.data))
                    await message.ack()
            break
        except nats.errors.Error as error:
            print(f"the bus: {error!r}; going on from the log", file=sys.stderr)
            consumer.catch_up()
            await asyncio.sleep(1)
    await connection.close()


if __name__ == "__main__":
    until = int(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    asyncio.run(follow(Consumer(Store(sys.argv[1])), until))
