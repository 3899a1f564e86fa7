package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"time"
)

// Event is what is to be sent: attributes by their CloudEvents names, and beside them what is no attribute.
type Event struct {
	Attributes  map[string]string
	Headers     map[string]string // the application's
	Traceparent string
	ContentType string
	Key         string
	Body        string
}

// Received is a message as a plain client sees it. Names are its headers, fields or user properties, whatever the broker calls them.
type Received struct {
	Partition   int
	Key         *string // Kafka's record key; other brokers have none
	ContentType string
	Names       map[string]string
	Body        *string // nil is the value null
}

// OrderEvent makes an event of one line of JSON. The body is the line as it is.
func OrderEvent(line, source string) (Event, error) {
	var order struct {
		OrderID string `json:"orderId"`
		UserID  string `json:"userId"`
	}
	if err := json.Unmarshal([]byte(line), &order); err != nil {
		return Event{}, err
	}
	return Event{
		Attributes: map[string]string{
			"specversion":   "1.0",
			"id":            order.OrderID, // the same when it is sent again: with the source it is the message's name
			"source":        source,
			"type":          "shop.order.placed",
			"time":          time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
			"partitionkey":  order.UserID,               // what has to stay in order
			"correlationid": "cart of " + order.OrderID, // an attribute of our own: it is kept
		},
		Headers: map[string]string{"tenant": "north"},
		// A new trace. Whoever has one already writes its trace id here, and a span id of its own.
		Traceparent: "00-" + randomHex(16) + "-" + randomHex(8) + "-01",
		ContentType: "application/json",
		Key:         order.UserID,
		Body:        line,
	}, nil
}

// Sent is what `produce` prints of a message that is stored.
func Sent(event Event, partition int) map[string]any {
	printed := map[string]any{"traceparent": event.Traceparent, "headers": event.Headers, "partition": partition}
	for name, value := range event.Attributes {
		printed[name] = value
	}
	return printed
}

// Read is what `consume` prints. `attribute` and `header` are what the names of attributes and of application headers begin with.
func Read(message Received, attribute, header string) map[string]any {
	headers := map[string]string{}
	printed := map[string]any{
		"traceparent": message.Names["traceparent"], // the trace to go on with
		"headers":     headers,
		"partition":   message.Partition,
		"wire": map[string]any{
			"key": message.Key, "contentType": message.ContentType, "names": maps.Clone(message.Names), "body": message.Body,
		},
	}
	for name, value := range message.Names {
		switch {
		case name == "traceparent", name == "tracestate", name == "baggage", name == "content-type", strings.HasPrefix(name, "ph-"):
			// of the transport
		case header != "" && strings.HasPrefix(name, header):
			headers[strings.TrimPrefix(name, header)] = value
		case strings.HasPrefix(name, attribute):
			printed[strings.TrimPrefix(name, attribute)] = value
		default:
			headers[name] = value
		}
	}
	if message.Body != nil && message.Names["ph-body"] != "null" && message.Names["ph-null"] != "null" {
		printed["value"] = json.RawMessage(*message.Body)
	}
	return printed
}

func randomHex(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // it never fails
	return hex.EncodeToString(random)
}
