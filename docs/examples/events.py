"""What the examples share: an event in both of its modes, and the log over HTTP. Only the standard library."""

import json
import urllib.parse
import urllib.request

NUMBERS = ("partition", "eventversion")


def from_message(headers, body):
    """The CloudEvent of a JetStream message (binary mode): the same document that `/v1/events` gives."""
    event = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            value = urllib.parse.unquote(value)
            event[name[3:]] = int(value) if name[3:] in NUMBERS else value
    event["data"] = json.loads(body)
    return event


def from_log(base, token, after, follow=False, types=None):
    """The events of the log behind `after`, a cursor or a position, in order."""
    query = {"after": after, "follow": str(follow).lower()}
    if types:
        query["types"] = ",".join(types)
    request = urllib.request.Request(f"{base}/v1/events?{urllib.parse.urlencode(query)}")
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Accept", "application/x-ndjson")
    # The server gives a sign of life every 15 seconds: silence for longer than a few of them is a broken connection.
    with urllib.request.urlopen(request, timeout=60) as answer:
        for line in answer:
            if line.strip():
                yield json.loads(line)
