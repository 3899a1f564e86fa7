// Consumes what devices say and sends what they have to do.
import type { Broker, Consumer } from '@posthorn/core'
import { commandsFor } from './rules.ts'
import { commandGiven, type Event, events } from './topics.ts'

export async function startRules(broker: Broker, seen: (event: Event) => void): Promise<Consumer> {
  // What devices publish has no envelope: no id, no type, no key. The schemas check it; what they refuse is a dead letter.
  return broker.consume(events, { group: 'rules' }, (message) => {
    const event = { topic: message.topic, ...message.value } as Event
    for (const command of commandsFor(event)) message.forward(commandGiven, command)
    seen(event)
  })
}
