package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis Streams with go-redis. A partition is a stream, {topic}:0 and so on; attributes are its fields ce_<name>.
type onRedis struct{ client *redis.Client }

func openRedis(url string) (Broker, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return onRedis{redis.NewClient(options)}, nil
}

func stream(topic string, partition int) string { return fmt.Sprintf("{%s}:%d", topic, partition) }

// The server knows how many partitions a topic has, once a service of ours has declared it.
func (b onRedis) partitions(ctx context.Context, topic string) (int, error) {
	count, err := b.client.HGet(ctx, "{"+topic+"}:meta", "partitions").Int()
	if err == redis.Nil {
		return 0, fmt.Errorf("there is no topic %s: start a service of its own first", topic)
	}
	return count, err
}

func (b onRedis) Produce(ctx context.Context, topic string, events []Event, stored func(Event, int)) error {
	partitions, err := b.partitions(ctx, topic)
	if err != nil {
		return err
	}
	for _, event := range events {
		partition := PartitionOf(event.Key, partitions)
		fields := map[string]any{"traceparent": event.Traceparent, "content-type": event.ContentType, "data": event.Body}
		for name, value := range event.Attributes {
			fields["ce_"+name] = value
		}
		for name, value := range event.Headers {
			fields["h_"+name] = value
		}
		if err := b.client.XAdd(ctx, &redis.XAddArgs{Stream: stream(topic, partition), Values: fields}).Err(); err != nil {
			return err
		}
		stored(event, partition)
	}
	return nil
}

// With a group of its own, so that nothing is taken away from others. It holds trimming back: destroy it when it is not needed any more.
func (b onRedis) Consume(ctx context.Context, topic, reader string, count int, ready func(), handle func(map[string]any)) error {
	partitions, err := b.partitions(ctx, topic)
	if err != nil {
		return err
	}
	partitionOf := map[string]int{}
	for partition := range partitions {
		name := stream(topic, partition)
		partitionOf[name] = partition
		err := b.client.XGroupCreateMkStream(ctx, name, reader, "0").Err()
		if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return err
		}
	}
	ready()
	streams := slices.Collect(maps.Keys(partitionOf))
	for range partitions {
		streams = append(streams, ">")
	}
	for count > 0 {
		reading := &redis.XReadGroupArgs{Group: reader, Consumer: "one", Streams: streams, Count: int64(count), Block: time.Second}
		found, err := b.client.XReadGroup(ctx, reading).Result()
		if err != nil && err != redis.Nil { // Nil: nothing came within a second
			return err
		}
		for _, each := range found {
			for _, entry := range each.Messages {
				handle(Read(received(entry, partitionOf[each.Stream]), "ce_", "h_"))
				if err := b.client.XAck(ctx, each.Stream, reader, entry.ID).Err(); err != nil {
					return err
				}
				count--
			}
		}
	}
	return nil
}

func received(entry redis.XMessage, partition int) Received {
	message := Received{Partition: partition, Names: map[string]string{}}
	for name, value := range entry.Values {
		text := value.(string)
		if name == "data" { // no such field: a null body
			message.Body = &text
		} else {
			message.Names[name] = text
		}
	}
	message.ContentType = message.Names["content-type"]
	return message
}
