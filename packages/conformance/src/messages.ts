// Sending many, steady load, and the suite's own messages: warm-ups before a clause begins and markers that prove an absence.

import type { Broker, Producer, Topic } from '@posthorn/core'
import { fail } from './assert.ts'
import type { Member, Script } from './member.ts'
import { keysOfPartitions } from './murmur2.ts'
import { type Order, type OrderTopic, order, specOf } from './orders.ts'
import type { Recorder } from './recorder.ts'
import type { Load, LoadOptions, SendManyOptions, Trial } from './trial.ts'

/** What a send may take by default, in milliseconds. */
export const sendTimeoutMs = 5000

/** Sends all, un-awaited in between unless asked, and resolves when all are stored. */
export async function sendMany<T extends Order>(
  broker: Broker,
  topic: Topic<T, unknown, string>,
  orders: readonly T[],
  options: SendManyOptions = {},
): Promise<void> {
  const { awaited = false, batch = false, producer: given, ...each } = options
  const producer = (given as Producer<T> | undefined) ?? broker.producer(topic, { timeoutMs: sendTimeoutMs })
  if (batch) {
    await producer.sendBatch(orders.map((value) => ({ value, id: value.id, ...each })))
    return
  }
  const open: Promise<unknown>[] = []
  for (const value of orders) {
    const sent = producer.send(value, { id: value.id, ...each })
    if (awaited) await sent
    else open.push(sent)
  }
  await Promise.all(open)
}

/** Sends in the background, one every `everyMs`. */
export function loadOn(
  broker: Broker,
  topic: OrderTopic,
  options: LoadOptions,
  trial: Trial,
  next: (keys: readonly (string | null)[]) => Order,
): Load {
  const { everyMs, keys = 64, most = Number.POSITIVE_INFINITY } = options
  const names = Array.from({ length: keys }, (_, index) => `key-${index}`)
  const producer = broker.producer(topic, { timeoutMs: sendTimeoutMs })
  const sent: Order[] = []
  const stored: Order[] = []
  const open: Promise<unknown>[] = []
  let stopped = false
  const running = (async () => {
    for (let n = 0; n < most && !stopped; n++) {
      const value = next([names[n % keys] as string])
      sent.push(value)
      open.push(
        producer.send(value, { id: value.id }).then(
          () => stored.push(value),
          () => {},
        ),
      )
      await trial.sleep(everyMs)
    }
  })()
  return {
    sent,
    async stop() {
      stopped = true
      await running
      await Promise.all(open)
      return stored
    },
  }
}

function markersFor(topic: OrderTopic, partitions: number, name: () => string): readonly Order[] {
  if (specOf(topic).keyed) return keysOfPartitions(partitions, 'mark').map((key) => order(name(), key, 0))
  return Array.from({ length: partitions * 4 }, () => order(name(), null, 0))
}

/** One marker per partition, the same way as messages; resolves when every recorder has seen all of them. */
export async function fenceOff(
  broker: Broker,
  topic: OrderTopic,
  recorders: readonly Recorder[],
  trial: Trial,
  partitions: ReadonlyMap<string, number>,
  name: () => string,
): Promise<void> {
  if (recorders.length === 0) fail('a fence needs the recorders that are to see its markers')
  await broker.declare(topic)
  const markers = markersFor(topic, partitions.get(topic.name) ?? 1, name)
  await sendMany(broker, topic, markers)
  await trial.until(
    `the fence of ${topic.name} is through`,
    () => recorders.every((recorder) => markers.every((marker) => recorder.hidden.has(marker.id))),
    {
      withinMs: 30_000,
      seen: () =>
        recorders.map(
          (recorder) =>
            `${recorder.name}: ${markers.filter((marker) => recorder.hidden.has(marker.id)).length} of ${markers.length} markers`,
        ),
    },
  )
}

/** Resolves when every member owns something and has handled something. */
export async function warmUp(
  broker: Broker,
  team: readonly Member[],
  script: Script & { readonly recorder?: Recorder },
  trial: Trial,
  partitions: ReadonlyMap<string, number>,
  name: () => string,
): Promise<void> {
  const topics = script.topic === undefined ? [] : 'name' in script.topic ? [script.topic] : script.topic
  const recorder = script.recorder
  if (topics.length === 0 || recorder === undefined) return
  await trial.until('every member has an assignment', () => team.every((member) => member.calls.assignments.length > 0), {
    withinMs: 30_000,
    seen: () => team.map((member) => `${member.name}: ${member.calls.assignments.length}`),
  })
  for (let round = 0; round < 20; round++) {
    const markers: Order[] = []
    for (const topic of topics) {
      const made = markersFor(topic, partitions.get(topic.name) ?? 1, name)
      markers.push(...made)
      await sendMany(broker, topic, made)
    }
    await trial.until('warm-up messages are handled', () => markers.every((marker) => recorder.hidden.has(marker.id)), 30_000)
    if (team.every((member) => recorder.handledBy(member.name) > 0)) break
  }
  const idle = team.filter((member) => recorder.handledBy(member.name) === 0)
  if (idle.length > 0) fail(`${idle.length} of ${team.length} members handle nothing, though everyone owns something`)
  if (script.options?.broadcast !== true) for (const topic of topics) await trial.settled(topic, script.group ?? 'workers')
  recorder.reset()
}
