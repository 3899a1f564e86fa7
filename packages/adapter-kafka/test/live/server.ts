// A real server for a file of tests, a session on it, a plain client beside it, and a way to it that knows requests.

import { type Opened, openSession, relay as relayTo, type Relay as SimpleRelay, whereFound } from '@posthorn/conformance/live'
import { type KafkaOptions, kafka } from '@posthorn/kafka'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { describe } from 'vitest'
import { findBroker } from '../../../../tools/brokers/index.mjs'

const found = await findBroker('kafka')

/** Tests that need a server; without one they are skipped, and their title says why. */
export const describeLive: ReturnType<typeof whereFound> = whereFound(describe, found)

/** Tests that need its disk and its programs as well: not for a server that somebody else runs. */
export const describeOwn: typeof describeLive = (name, body) => {
  const foreign = found.available && found.source === 'external'
  return foreign ? describe.skipIf(foreign)(`${name} [the server is not ours]`, body) : describeLive(name, body)
}

/** Opens a session as core would: silent members are waited for for 2 s, and the server is reached by its URL alone. */
export function open(options: KafkaOptions): Promise<Opened> {
  const port = new URL((options.url ?? 'kafka://x').replace(/^kafka:/, 'http:')).host
  return openSession(kafka({ sessionTimeoutMs: 2000, reach: () => port, ...options }))
}

/** A plain client, to look and to meddle with. */
export function plain(url: string): Kafka {
  return new Kafka({
    brokers: [url.replace(/^kafka:\/\//, '')],
    logLevel: logLevel.NOTHING,
    retry: { retries: 20, initialRetryTime: 50, maxRetryTime: 500 },
  })
}

/** Looks and meddles. */
export async function witness(url: string): Promise<Admin> {
  const admin = plain(url).admin()
  await admin.connect()
  return admin
}

/** Where a group is, by partition. */
export async function positions(admin: Admin, groupId: string, topic: string): Promise<readonly number[]> {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return [...(found?.partitions ?? [])].sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset))
}

/** The ids of all that lies in a topic and is committed, partition by partition. */
export async function stored(url: string, admin: Admin, topic: string): Promise<readonly (readonly string[])[]> {
  const ends = await admin.fetchTopicOffsets(topic)
  const ids: string[][] = ends.map(() => [])
  const left = new Map(ends.filter(({ offset }) => Number(offset) > 0).map(({ partition, offset }) => [partition, Number(offset)]))
  if (left.size === 0) return ids
  const consumer = plain(url).consumer({ groupId: `look-${Math.random()}`, maxWaitTimeInMs: 50 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${topic} was not read to its end`)), 20_000)
    void consumer.run({
      autoCommit: false,
      async eachBatch({ batch }) {
        for (const { headers } of batch.messages) ids[batch.partition]?.push(String(headers?.['ce_id'] ?? ''))
        const end = left.get(batch.partition)
        if (end !== undefined && Number(batch.lastOffset()) >= end - 1) left.delete(batch.partition)
        if (left.size > 0) return
        clearTimeout(late)
        resolve()
      },
    })
  })
  await consumer.disconnect()
  return ids
}

/** A way to the server that a test can cut, silence, or whose answers it can drop. */
export interface Relay extends SimpleRelay {
  /** Called with the API number of each request before it goes on, and a way to end its connection; what follows it waits. */
  before: ((api: number, end: () => void) => Promise<void>) | null
}

export async function relay(port: number): Promise<Relay> {
  const made = await relayTo('kafka', port, (on, end) => {
    let rest = Buffer.alloc(0)
    let passing: Promise<void> = Promise.resolve()
    return (bytes) => {
      rest = Buffer.concat([rest, bytes])
      while (rest.length >= 8 && rest.length >= 4 + rest.readInt32BE(0)) {
        const frame = rest.subarray(0, 4 + rest.readInt32BE(0))
        rest = rest.subarray(frame.length)
        passing = passing.then(async () => {
          await way.before?.(frame.readInt16BE(4), end)
          on(frame)
        })
      }
    }
  })
  const way: Relay = Object.assign(made, { before: null })
  return way
}
