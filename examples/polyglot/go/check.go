package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
)

// What attributes begin with on each broker.
var prefixes = map[string]string{"kafka": "ce_", "rabbitmq": "cloudEvents_", "redis": "ce_", "mqtt": ""}

// On MQTT, where attributes have no prefix, there are user properties that are none.
func isAttribute(name string) bool {
	return !strings.ContainsAny(name, "_-") && name != "traceparent" && name != "tracestate" && name != "baggage"
}

// Gives what `consume` printed to the official SDK, header by header as its bindings do, lets it judge the event, and prints the event
// as the SDK writes it.
func check(broker string, lines []string) error {
	versions := spec.WithPrefix(prefixes[broker])
	for _, line := range lines {
		var message struct {
			Wire struct {
				ContentType string
				Names       map[string]string
				Body        string
			}
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			return err
		}
		version := versions.Version(message.Wire.Names[versions.PrefixedSpecVersionName()])
		if version == nil || version.String() != event.CloudEventsVersionV1 {
			return fmt.Errorf("it is no CloudEvent of version 1.0: %s", line)
		}
		read := event.Event{Context: version.NewContext(), DataEncoded: []byte(message.Wire.Body)}
		for name, value := range message.Wire.Names {
			attribute, found := strings.CutPrefix(name, versions.Prefix())
			if !found || !isAttribute(attribute) || attribute == "specversion" {
				continue
			}
			if err := setAttribute(version, &read, name, attribute, value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := read.Context.SetDataContentType(message.Wire.ContentType); err != nil {
			return err
		}
		if err := read.Validate(); err != nil {
			return err
		}
		document, err := json.Marshal(read)
		if err != nil {
			return err
		}
		show(map[string]any{"event": json.RawMessage(document), "structured": base64.StdEncoding.EncodeToString(document)})
	}
	return nil
}

func setAttribute(version spec.Version, read *event.Event, name, attribute, value string) error {
	if known := version.Attribute(name); known != nil {
		return known.Set(read.Context, value)
	}
	return read.Context.SetExtension(attribute, value)
}
