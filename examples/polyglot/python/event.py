"""What is the same on every broker: an order as a CloudEvent, and a CloudEvent as it comes out of a message."""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone


@dataclass
class Event:
    """What is to be sent: attributes by their CloudEvents names, and beside them what is no attribute."""

    attributes: dict
    headers: dict  # the application's
    traceparent: str
    content_type: str
    key: str
    body: str


@dataclass
class Received:
    """A message as a plain client sees it. `names` are its headers, fields or user properties, whatever the broker calls them."""

    partition: int
    key: str | None  # Kafka's record key; other brokers have none
    content_type: str | None
    names: dict
    body: str | None  # None is the value null


def order_event(line, source):
    """One line of JSON as an event. The body is the line as it is."""
    order = json.loads(line)
    return Event(
        attributes={
            "specversion": "1.0",
            "id": order["orderId"],  # the same when it is sent again: with the source it is the message's name
            "source": source,
            "type": "shop.order.placed",
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "partitionkey": order["userId"],  # what has to stay in order
            "correlationid": f"cart of {order['orderId']}",  # an attribute of our own: it is kept
        },
        headers={"tenant": "north"},
        # A new trace. Whoever has one already writes its trace id here, and a span id of its own.
        traceparent=f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        content_type="application/json",
        key=order["userId"],
        body=line,
    )


def sent(event, partition):
    """What `produce` prints of a message that is stored."""
    return {**event.attributes, "traceparent": event.traceparent, "headers": event.headers, "partition": partition}


def read(message, attribute="", header=""):
    """What `consume` prints. `attribute` and `header` are what the names of attributes and of application headers begin with."""
    attributes, headers = {}, {}
    for name, value in message.names.items():
        if name in ("traceparent", "tracestate", "baggage", "content-type") or name.startswith("ph-"):
            continue  # of the transport
        if header and name.startswith(header):
            headers[name[len(header) :]] = value
        elif name.startswith(attribute):
            attributes[name[len(attribute) :]] = value
        else:
            headers[name] = value
    null = message.body is None or "null" in (message.names.get("ph-body"), message.names.get("ph-null"))
    return {
        **attributes,
        "traceparent": message.names.get("traceparent"),  # the trace to go on with
        "headers": headers,
        "value": None if null else json.loads(message.body),
        "partition": message.partition,
        "wire": {"key": message.key, "contentType": message.content_type, "names": message.names, "body": message.body},
    }
