"""Kafka with kafka-python. Its default partitioner is murmur2, as that of Java is; attributes are headers ce_<name>."""

from urllib.parse import urlsplit

from kafka import KafkaConsumer, KafkaProducer

from event import Received, read


def produce(url, topic, events):
    producer = KafkaProducer(bootstrap_servers=urlsplit(url).netloc, acks="all", enable_idempotence=True, compression_type="gzip")
    stored = []
    for event in events:
        headers = {f"ce_{name}": value for name, value in event.attributes.items()}
        headers |= event.headers | {"traceparent": event.traceparent, "content-type": event.content_type}
        encoded = [(name, value.encode()) for name, value in headers.items()]
        stored.append((event, producer.send(topic, key=event.key.encode(), value=event.body.encode(), headers=encoded)))
    for event, future in stored:
        yield event, future.get(timeout=30).partition  # raises if it is not stored
    producer.close()


def consume(url, topic, reader, count, ready, handle):
    """With a group id of its own: it gets everything, whatever others have read."""
    settings = {"group_id": reader, "auto_offset_reset": "earliest", "enable_auto_commit": False}
    consumer = KafkaConsumer(topic, bootstrap_servers=urlsplit(url).netloc, **settings)
    ready()
    for record in consumer:
        names = {name: value.decode() for name, value in record.headers}
        key = None if record.key is None else record.key.decode()
        body = None if record.value is None else record.value.decode()
        handle(read(Received(record.partition, key, names.get("content-type"), names, body), attribute="ce_"))
        count -= 1
        if count == 0:
            break
    consumer.commit()  # what was handled; a real service does it every second or so
    consumer.close(autocommit=False)
