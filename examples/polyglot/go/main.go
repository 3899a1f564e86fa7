// Orders in and out of any broker, with nothing but its usual client.
//
//	polyglot produce URL TOPIC                 orders on stdin, one JSON object a line; prints what was stored
//	polyglot consume URL TOPIC READER COUNT    prints that many messages, as JSON lines, in the name of READER
//	polyglot check BROKER                      reads such lines with the CloudEvents SDK, see check.go
//
// URL is redis://, amqp://, kafka:// or mqtt://.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Broker is what each of the four files gives.
type Broker interface {
	// Produce stores events and tells the partition of each.
	Produce(ctx context.Context, topic string, events []Event, stored func(Event, int)) error
	// Consume handles `count` messages. `ready` is called when what is sent from then on comes.
	Consume(ctx context.Context, topic, reader string, count int, ready func(), handle func(map[string]any)) error
}

var brokers = map[string]func(url string) (Broker, error){
	"redis": openRedis, "amqp": openRabbitmq, "kafka": openKafka, "mqtt": openMqtt,
}

func show(value any) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
}

func lines() (all []string) {
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		all = append(all, scanner.Text())
	}
	return all
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "check" {
		return check(args[1], lines())
	}
	if !(len(args) == 3 && args[0] == "produce" || len(args) == 5 && args[0] == "consume") {
		return fmt.Errorf("usage: polyglot produce URL TOPIC, or polyglot consume URL TOPIC READER COUNT")
	}
	url, topic, ctx := args[1], args[2], context.Background()
	scheme, _, _ := strings.Cut(url, ":")
	open, known := brokers[scheme]
	if !known {
		return fmt.Errorf("there is no broker for %s:", scheme)
	}
	broker, err := open(url)
	if err != nil {
		return err
	}
	if args[0] == "produce" {
		var events []Event
		for _, line := range lines() {
			event, err := OrderEvent(line, "/go")
			if err != nil {
				return err
			}
			events = append(events, event)
		}
		return broker.Produce(ctx, topic, events, func(event Event, partition int) { show(Sent(event, partition)) })
	}
	count, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	return broker.Consume(ctx, topic, args[3], count, func() { fmt.Fprintln(os.Stderr, "ready") }, func(message map[string]any) { show(message) })
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
