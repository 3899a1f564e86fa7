package main

import (
	"context"
	"fmt"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

// RabbitMQ tells nobody how many partitions a topic has, so producers and services agree on it. This is what a topic has that says nothing.
const agreedPartitions = 4

// RabbitMQ with amqp091-go. A topic is a direct exchange, the routing key is the partition; attributes are headers cloudEvents_<name>.
type onRabbitmq struct{ channel *amqp.Channel }

func openRabbitmq(url string) (Broker, error) {
	connection, err := amqp.Dial(url)
	if err != nil {
		return nil, err
	}
	channel, err := connection.Channel()
	return onRabbitmq{channel}, err
}

// The number of partitions is in the name of this exchange: where we are wrong about it, the server says that there is none.
func foreignExchange(topic string) string {
	return fmt.Sprintf("%s__foreign__p%d", topic, agreedPartitions)
}

func (b onRabbitmq) check(topic string) error {
	return b.channel.ExchangeDeclarePassive(foreignExchange(topic), "fanout", true, false, false, false, nil)
}

func (b onRabbitmq) Produce(ctx context.Context, topic string, events []Event, stored func(Event, int)) error {
	if err := b.check(topic); err != nil {
		return err
	}
	if err := b.channel.Confirm(false); err != nil {
		return err
	}
	// What no queue takes comes back before it is confirmed. One at a time, so one is enough.
	returned := b.channel.NotifyReturn(make(chan amqp.Return, 1))
	for _, event := range events {
		partition := PartitionOf(event.Key, agreedPartitions)
		headers := amqp.Table{"traceparent": event.Traceparent}
		for name, value := range event.Attributes {
			headers["cloudEvents_"+name] = value
		}
		for name, value := range event.Headers {
			headers[name] = value
		}
		message := amqp.Publishing{ContentType: event.ContentType, DeliveryMode: amqp.Persistent, Headers: headers, Body: []byte(event.Body)}
		confirmation, err := b.channel.PublishWithDeferredConfirmWithContext(ctx, topic, strconv.Itoa(partition), true, false, message)
		if err != nil {
			return err
		}
		if confirmed, err := confirmation.WaitContext(ctx); err != nil || !confirmed {
			return fmt.Errorf("%s may not be stored: confirmed %v, %w", event.Attributes["id"], confirmed, err)
		}
		select {
		case back := <-returned:
			return fmt.Errorf("%s was not stored: %s", event.Attributes["id"], back.ReplyText)
		default:
		}
		stored(event, partition)
	}
	return nil
}

// With a queue of its own, bound to all partitions and to what was sent with any other routing key.
func (b onRabbitmq) Consume(ctx context.Context, topic, reader string, count int, ready func(), handle func(map[string]any)) error {
	if err := b.check(topic); err != nil {
		return err
	}
	if _, err := b.channel.QueueDeclare(reader, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		return err
	}
	for partition := range agreedPartitions {
		if err := b.channel.QueueBind(reader, strconv.Itoa(partition), topic, false, nil); err != nil {
			return err
		}
	}
	if err := b.channel.QueueBind(reader, "", foreignExchange(topic), false, nil); err != nil {
		return err
	}
	if err := b.channel.Qos(100, 0, false); err != nil {
		return err
	}
	deliveries, err := b.channel.ConsumeWithContext(ctx, reader, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	ready()
	for delivery := range deliveries {
		names := map[string]string{}
		for name, value := range delivery.Headers {
			names[name] = fmt.Sprint(value) // others may send numbers
		}
		body := string(delivery.Body)
		partition, _ := strconv.Atoi(delivery.RoutingKey) // what is no number is in partition 0
		handle(Read(Received{partition, nil, delivery.ContentType, names, &body}, "cloudEvents_", ""))
		if err := delivery.Ack(false); err != nil {
			return err
		}
		if count--; count == 0 {
			return nil
		}
	}
	return fmt.Errorf("the server closed the channel")
}
