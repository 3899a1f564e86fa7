"""RabbitMQ with pika. A topic is a direct exchange, the routing key is the partition; attributes are headers cloudEvents_<name>."""

import pika

from event import Received, read
from partition import partition_of

# RabbitMQ tells nobody how many partitions a topic has, so producers and services agree on it. This is what a topic has that says nothing.
PARTITIONS = 4


def open_channel(url, topic):
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    # The number is in the name of this exchange: where we are wrong about it, the server says that there is none.
    channel.exchange_declare(f"{topic}__foreign__p{PARTITIONS}", passive=True)
    return channel


def produce(url, topic, events):
    channel = open_channel(url, topic)
    channel.confirm_delivery()  # from now on `basic_publish` returns when all queues have it, and raises if there is none
    for event in events:
        partition = partition_of(event.key, PARTITIONS)
        headers = {f"cloudEvents_{name}": value for name, value in event.attributes.items()}
        headers |= event.headers | {"traceparent": event.traceparent}
        properties = pika.BasicProperties(content_type=event.content_type, delivery_mode=2, headers=headers)
        channel.basic_publish(topic, str(partition), event.body, properties, mandatory=True)
        yield event, partition
    channel.connection.close()


def consume(url, topic, reader, count, ready, handle):
    """With a queue of its own, bound to all partitions and to what was sent with any other routing key."""
    channel = open_channel(url, topic)
    channel.basic_qos(prefetch_count=100)
    channel.queue_declare(reader, durable=True, arguments={"x-queue-type": "quorum"})
    for partition in range(PARTITIONS):
        channel.queue_bind(reader, topic, str(partition))
    channel.queue_bind(reader, f"{topic}__foreign__p{PARTITIONS}")
    ready()
    for delivery, properties, body in channel.consume(reader):
        partition = int(delivery.routing_key) if delivery.routing_key.isdigit() else 0
        message = Received(partition, None, properties.content_type, properties.headers or {}, body.decode())
        handle(read(message, attribute="cloudEvents_"))
        channel.basic_ack(delivery.delivery_tag)
        count -= 1
        if count == 0:
            break
    channel.cancel()
    channel.connection.close()
