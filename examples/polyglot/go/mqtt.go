package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// MQTT 5 with paho. A partition is a topic, orders/placed/@0 and so on; attributes are user properties by their own names.
type onMqtt struct{ address string }

func openMqtt(address string) (Broker, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return onMqtt{parsed.Host}, nil
}

const day = uint32(86_400)

// `received` is called for one message after the other; when it returns, paho acknowledges.
func (b onMqtt) connect(ctx context.Context, name string, sessionSeconds uint32, received func(*paho.Publish)) (*paho.Client, error) {
	socket, err := net.Dial("tcp", b.address)
	if err != nil {
		return nil, err
	}
	client := paho.NewClient(paho.ClientConfig{Conn: socket, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(came paho.PublishReceived) (bool, error) { received(came.Packet); return true, nil },
	}})
	properties := &paho.ConnectProperties{SessionExpiryInterval: &sessionSeconds}
	_, err = client.Connect(ctx, &paho.Connect{ClientID: name, CleanStart: sessionSeconds == 0, KeepAlive: 30, Properties: properties})
	return client, err
}

// A retained record has the number of partitions, once a service of ours has declared the topic.
func (b onMqtt) partitions(ctx context.Context, topic string) (int, error) {
	records := make(chan []byte, 1)
	client, err := b.connect(ctx, "", 0, func(message *paho.Publish) { records <- message.Payload })
	if err != nil {
		return 0, err
	}
	defer client.Disconnect(&paho.Disconnect{})
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "posthorn/topic/" + topic}}}); err != nil {
		return 0, err
	}
	select {
	case record := <-records:
		var found struct{ Partitions int }
		err := json.Unmarshal(record, &found)
		return found.Partitions, err
	case <-time.After(10 * time.Second):
		return 0, fmt.Errorf("there is no topic %s: start a service of its own first", topic)
	}
}

func (b onMqtt) Produce(ctx context.Context, topic string, events []Event, stored func(Event, int)) error {
	partitions, err := b.partitions(ctx, topic)
	if err != nil {
		return err
	}
	client, err := b.connect(ctx, "", 0, func(*paho.Publish) {})
	if err != nil {
		return err
	}
	defer client.Disconnect(&paho.Disconnect{})
	for _, event := range events {
		partition := PartitionOf(event.Key, partitions)
		properties := &paho.PublishProperties{ContentType: event.ContentType}
		for name, value := range event.Attributes {
			properties.User.Add(name, value)
		}
		for name, value := range event.Headers {
			properties.User.Add("h_"+name, value)
		}
		properties.User.Add("traceparent", event.Traceparent)
		place := fmt.Sprintf("%s/@%d", strings.ReplaceAll(topic, ".", "/"), partition)
		answer, err := client.Publish(ctx, &paho.Publish{Topic: place, QoS: 1, Properties: properties, Payload: []byte(event.Body)})
		if err != nil {
			return err
		}
		if answer.ReasonCode != 0 { // 16: nobody is subscribed, and so nobody has stored it
			return fmt.Errorf("%s was not stored: reason %d", event.Attributes["id"], answer.ReasonCode)
		}
		stored(event, partition)
	}
	return nil
}

// With a session of its own name, for which the server queues while we are away.
func (b onMqtt) Consume(ctx context.Context, topic, reader string, count int, ready func(), handle func(map[string]any)) error {
	partitions, err := b.partitions(ctx, topic)
	if err != nil {
		return err
	}
	path := strings.ReplaceAll(topic, ".", "/")
	partitionOf := map[string]int{path: 0}
	for partition := range partitions {
		partitionOf[fmt.Sprintf("%s/@%d", path, partition)] = partition
	}
	done := make(chan struct{})
	client, err := b.connect(ctx, reader, day, func(message *paho.Publish) {
		if count == 0 {
			return
		}
		handle(Read(receivedPublish(message, partitionOf[message.Topic]), "", "h_"))
		// The last one is perhaps not acknowledged before we leave, and then comes again: at least once is what MQTT gives.
		if count--; count == 0 {
			close(done)
		}
	})
	if err != nil {
		return err
	}
	subscribe := &paho.Subscribe{}
	for place := range partitionOf {
		subscribe.Subscriptions = append(subscribe.Subscriptions, paho.SubscribeOptions{Topic: place, QoS: 1})
	}
	if _, err := client.Subscribe(ctx, subscribe); err != nil {
		return err
	}
	ready()
	select {
	case <-done:
		return client.Disconnect(&paho.Disconnect{})
	case <-client.Done():
		return fmt.Errorf("the connection is over")
	}
}

func receivedPublish(message *paho.Publish, partition int) Received {
	names := map[string]string{}
	for _, property := range message.Properties.User {
		names[property.Key] = property.Value
	}
	body := string(message.Payload)
	return Received{partition, nil, message.Properties.ContentType, names, &body}
}
