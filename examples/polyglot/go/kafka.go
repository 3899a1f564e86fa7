package main

import (
	"context"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka with franz-go. Its default partitioner is murmur2, as that of Java is; attributes are headers ce_<name>.
type onKafka struct{ seeds []string }

func openKafka(address string) (Broker, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return onKafka{strings.Split(parsed.Host, ",")}, nil
}

func (b onKafka) Produce(ctx context.Context, topic string, events []Event, stored func(Event, int)) error {
	// By default idempotent, confirmed by all replicas in sync, and compressed by snappy.
	client, err := kgo.NewClient(kgo.SeedBrokers(b.seeds...))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, len(events))
	for at, event := range events {
		record := &kgo.Record{Topic: topic, Key: []byte(event.Key), Value: []byte(event.Body)}
		add := func(name, value string) {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
		for name, value := range event.Attributes {
			add("ce_"+name, value)
		}
		for name, value := range event.Headers {
			add(name, value)
		}
		add("traceparent", event.Traceparent)
		add("content-type", event.ContentType)
		records[at] = record
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	for at, record := range records {
		stored(events[at], int(record.Partition))
	}
	return nil
}

// With a group id of its own: it gets everything, whatever others have read.
func (b onKafka) Consume(ctx context.Context, topic, reader string, count int, ready func(), handle func(map[string]any)) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(b.seeds...), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(reader),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ready()
	for count > 0 {
		fetches := client.PollRecords(ctx, count)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			handle(Read(receivedRecord(record), "ce_", ""))
			count--
		})
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
	}
	return nil
}

func receivedRecord(record *kgo.Record) Received {
	message := Received{Partition: int(record.Partition), Names: map[string]string{}}
	for _, header := range record.Headers {
		message.Names[header.Key] = string(header.Value)
	}
	message.ContentType = message.Names["content-type"]
	if record.Key != nil {
		key := string(record.Key)
		message.Key = &key
	}
	if record.Value != nil { // none is a null body
		body := string(record.Value)
		message.Body = &body
	}
	return message
}
