"""A client of nobody's library, played for the tests of the auditor: it declares, publishes, consumes and acknowledges as told."""

import json
import select
import sys

import pika

url = sys.argv[1]
tags = {}


def say(text):
    print(text, flush=True)


def connected():
    parameters = pika.URLParameters(url)
    parameters.client_properties = {"connection_name": "test consume someone"}
    return pika.BlockingConnection(parameters)


connection = connected()
channel = connection.channel()
channel.confirm_delivery()
say("ready")


def declare(topic, partitions, groups):
    quorum = {"x-queue-type": "quorum"}
    if partitions is None:
        channel.exchange_declare(topic, "fanout", durable=True)
        for group in groups:
            channel.queue_declare(f"{topic}__{group}", durable=True, arguments=quorum)
            channel.queue_bind(f"{topic}__{group}", topic, "")
        return
    foreign = f"{topic}__foreign__p{partitions}"
    channel.exchange_declare(foreign, "fanout", durable=True)
    channel.exchange_declare(topic, "direct", durable=True, arguments={"alternate-exchange": foreign})
    for group in groups:
        for p in range(partitions):
            name = f"{topic}__{group}:{p}"
            channel.queue_declare(name, durable=True, arguments={**quorum, "x-single-active-consumer": True})
            channel.queue_bind(name, topic, str(p))


def delivered(queue):
    def got(_channel, method, _properties, _body):
        tags[queue].append(method.delivery_tag)
        say(f"delivered {len(tags[queue])}")

    return got


while True:
    try:
        connection.process_data_events(0.02)
    except (pika.exceptions.AMQPError, ValueError):  # pika says ValueError where its timers are gone already
        say("expelled")
        connection = connected()
        channel = connection.channel()
        channel.confirm_delivery()
    if not select.select([sys.stdin], [], [], 0)[0]:
        continue
    line = sys.stdin.readline()
    if line == "":
        break
    word, *args = json.loads(line)
    try:
        if word == "declare":
            declare(*args)
        elif word == "lane":
            ends = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "nowhere", "x-dead-letter-strategy": "at-least-once"}
            lane = {"x-queue-type": "quorum", "x-message-ttl": args[1], "x-overflow": "reject-publish"}
            channel.queue_declare(args[0], durable=True, arguments={**lane, **ends})
        elif word == "publish":
            exchange, key, body, headers = args
            channel.basic_publish(exchange, key, body.encode(), pika.BasicProperties(headers=headers, delivery_mode=2))
            say("= published")
        elif word == "get":
            channel.basic_get(args[0])
            say("= got")
        elif word == "consume":
            tags[args[0]] = []
            channel.basic_qos(prefetch_count=args[1])
            channel.basic_consume(args[0], delivered(args[0]))
        elif word == "ack":
            channel.basic_ack(args[1])
        elif word == "connect":
            connected().close()
            say("= connected")
    except pika.exceptions.ChannelClosedByBroker as problem:
        say("= single active" if problem.reply_code == 405 else f"= refused {problem.reply_code}")
        channel = connection.channel()
        channel.confirm_delivery()
    except pika.exceptions.AMQPError:
        say("= not connected")
    say("ok")
