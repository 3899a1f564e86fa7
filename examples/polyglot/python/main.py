"""Orders in and out of any broker, with nothing but its usual client.

main.py produce URL TOPIC                 orders on stdin, one JSON object a line; prints what was stored
main.py consume URL TOPIC READER COUNT    prints that many messages, as JSON lines, in the name of READER

URL is redis://, amqp://, kafka:// or mqtt://.
"""

import importlib
import json
import sys
from urllib.parse import urlsplit

from event import order_event, sent

BROKERS = {"redis": "on_redis", "amqp": "on_rabbitmq", "kafka": "on_kafka", "mqtt": "on_mqtt"}


def show(value):
    print(json.dumps(value, ensure_ascii=False), flush=True)


def main(command, url, topic, *rest):
    broker = importlib.import_module(BROKERS[urlsplit(url).scheme])
    if command == "produce":
        events = (order_event(line.strip(), "/python") for line in sys.stdin)
        for event, partition in broker.produce(url, topic, events):
            show(sent(event, partition))
        return
    reader, count = rest
    broker.consume(url, topic, reader, int(count), lambda: print("ready", file=sys.stderr, flush=True), show)


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    main(*sys.argv[1:])
