"""check.py BROKER: reads with the official SDK what `main.py consume` printed.

The SDK's bindings get headers and body as they lay on the wire, judge the event, and it is printed as the SDK writes it: as JSON, and
as a document in structured mode. For Redis and MQTT the SDK has no binding: there its event gets attribute by attribute.
"""

import base64
import json
import sys

from cloudevents.core.bindings import amqp, kafka
from cloudevents.core.bindings.common import decode_header_value
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def on_kafka(wire):
    headers = {name: value.encode() for name, value in wire["names"].items()}
    return kafka.from_binary_event(kafka.KafkaMessage(headers, wire["key"].encode(), wire["body"].encode()))


def on_rabbitmq(wire):
    # The binding for AMQP: the names are the same.
    return amqp.from_binary_event(amqp.AMQPMessage({"content-type": wire["contentType"]}, wire["names"], wire["body"].encode()))


def attributes(prefix):
    def of_names(wire):
        found = {"datacontenttype": wire["contentType"]}
        for name, value in wire["names"].items():
            attribute = name.removeprefix(prefix)
            # On MQTT, where attributes have no prefix, there are user properties that are none.
            if name.startswith(prefix) and not {"_", "-"} & set(attribute) and attribute not in ("traceparent", "tracestate", "baggage"):
                found[attribute] = decode_header_value(attribute, value) if attribute == "time" else value
        return CloudEvent(found, json.loads(wire["body"]))

    return of_names


READERS = {"kafka": on_kafka, "rabbitmq": on_rabbitmq, "redis": attributes("ce_"), "mqtt": attributes("")}


def main(broker):
    for line in sys.stdin:
        document = JSONFormat().write(READERS[broker](json.loads(line)["wire"]))
        print(json.dumps({"event": json.loads(document), "structured": base64.b64encode(document).decode()}), flush=True)


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")
    main(*sys.argv[1:])
