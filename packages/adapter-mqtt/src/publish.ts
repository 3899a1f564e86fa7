// Storing a batch: packets in one piece, as many as the server takes at once, and what its answers say about each.

import type { Outgoing, PublishReport } from '@posthorn/core/adapter'
import { Bytes } from './bytes.ts'
import { best } from './capabilities.ts'
import type { Core } from './core.ts'
import { bytesOf, topicBytes, writePublish } from './encode.ts'
import { explain, fault, refusal } from './explain.ts'
import { deadTopic, digest, partitionTopic, waitingTopic } from './layout.ts'
import type { Wire } from './wire.ts'

type Failure = PublishReport['failures'][number]

/** What a publish resolves to: nothing has a position here. */
class Report implements PublishReport {
  readonly failures: readonly Failure[]

  constructor(failures: readonly Failure[]) {
    this.failures = failures
  }

  position(): null {
    return null
  }
}

const allStored = new Report(Object.freeze([]))
const unrouted = 0x10
/** Some servers have another opinion about what is around a body. */
const around = 4096
/** A piece that is written at once. */
const pieceBytes = 64 * 1024

/** Makes the publish of a session. `healing`: what was declared is being made again; nothing is sent before that has ended. */
export function createPublish(
  core: Core,
  healing: () => Promise<void> | null,
): (batch: readonly Outgoing[], signal: AbortSignal) => Promise<PublishReport> {
  const { settings, context } = core
  const { version } = settings
  const topics = new Map<string, Buffer[]>()
  /** A copy that is sent again goes to the name that it had. */
  const names = new WeakMap<Outgoing, Buffer>()
  const bytes = new Bytes(pieceBytes * 2)
  let stamps = 0
  let turn = 0

  function mainTopic({ place, partition }: Outgoing): Buffer {
    const { topic } = place
    let known = topics.get(topic)
    if (known === undefined) {
      known = []
      topics.set(topic, known)
    }
    const at = partition ?? turn++ % Math.max(1, core.records.known(topic)?.partitions ?? 1)
    known[at] ??= topicBytes(partitionTopic(topic, at))
    return known[at]
  }

  function topicOf(message: Outgoing): Buffer {
    const { place, delayMs, slot, id, attributes, partition } = message
    if (place.role === 'main' && delayMs <= 0) return mainTopic(message)
    const known = names.get(message)
    if (known !== undefined) return known
    const now = context.clock.now()
    const name =
      place.role === 'dead'
        ? deadTopic(
            place,
            slot ?? digest(id),
            `${String(now).padStart(15, '0')}-${String(++stamps).padStart(9, '0')}-${context.instance.slice(-12)}`,
          )
        : waitingTopic(
            place.role === 'main' ? { ...place, role: 'delay' } : place,
            digest(JSON.stringify([attributes.source ?? null, id])),
            Math.ceil(now + delayMs),
            place.role === 'main' ? partition : null,
          )
    const made = topicBytes(name)
    names.set(message, made)
    return made
  }

  /** Writes one message; its outcome is told once. */
  function write(
    wire: Wire,
    message: Outgoing,
    topic: Buffer,
    told: (outcome: 'stored' | 'failed' | 'unknown', error: unknown) => void,
  ): boolean {
    const isRetained = message.place.role !== 'main' || message.delayMs > 0
    const id = wire.begin((reason) => {
      if (reason === 0 || (reason === unrouted && isRetained)) told('stored', null)
      else if (reason === null) told('unknown', fault('UNAVAILABLE', 'mqtt: the connection was lost before the answer', 'unknown'))
      else if (reason === unrouted && core.records.known(message.place.topic)?.groups.size) {
        // The server has the records and not the sessions: they are made again, and the message, which was not stored, may come again.
        const { topic } = message.place
        for (const group of core.records.known(topic)?.groups.keys() ?? []) core.sessionLost(topic, group)
        told('failed', fault('UNAVAILABLE', `mqtt: the server lost the sessions of all groups of "${topic}"; making them again`, 'failed'))
      } else {
        const error = refusal(`cannot publish to "${message.place.topic}"`, reason)
        told(explain(error).outcome === 'failed' ? 'failed' : 'unknown', error)
      }
    })
    if (id === 0) return false
    try {
      writePublish(bytes, version, topic, id, message, isRetained)
    } catch (error) {
      wire.forget(id)
      throw error
    }
    return true
  }

  /** The connection once it is there and the groups are: whoever overtook their making would be stored for some of them only. */
  async function usable(signal: AbortSignal): Promise<Wire | null> {
    while (!signal.aborted) {
      const work = healing()
      const { wire } = core.main
      if (work !== null) await unlessGivenUp(work, signal)
      else if (wire !== null) return wire
      else if (!(await core.main.ready(signal))) return null
    }
    return null
  }

  return async function publish(batch, signal) {
    const failures: Failure[] = []
    const all = (outcome: 'failed' | 'unknown', error: unknown): PublishReport =>
      new Report(batch.map((_, index) => ({ index, outcome, error })))
    if (core.closed) return all('failed', fault('CLOSED', 'mqtt: the session is closed', 'failed'))
    if (signal.aborted) return all('failed', fault('CANCELLED', 'mqtt: the publish was given up before it began', 'failed'))
    if (batch.length > best.limits.batch)
      return all(
        'failed',
        fault('INVALID_ARGUMENT', `mqtt: a batch of ${batch.length} is over the limit of ${best.limits.batch}`, 'failed'),
      )
    // Nothing has left yet: what is given up while the connection is away was not stored.
    const wire = await usable(signal)
    if (wire === null) return all('failed', fault('UNAVAILABLE', 'mqtt: the connection is away; connecting again', 'failed'))
    const mostBytes = Math.min(best.limits.messageBytes, wire.maximumPacketSize - around)
    const outcomes = new Uint8Array(batch.length)
    let open = batch.length
    let finish = (): void => {}
    const done = new Promise<void>((resolve) => {
      finish = resolve
    })
    const told = (index: number, outcome: 'stored' | 'failed' | 'unknown', error: unknown): void => {
      if (outcomes[index] !== 0) return
      outcomes[index] = 1
      if (outcome !== 'stored') failures.push({ index, outcome, error })
      open--
      if (open === 0) finish()
    }
    const abort = (): void => {
      const error = fault('CANCELLED', 'mqtt: the publish was given up', 'unknown')
      for (let index = 0; index < batch.length; index++) told(index, 'unknown', error)
    }
    signal.addEventListener('abort', abort, { once: true })
    const flush = (): void => {
      if (bytes.at > 0) wire.send(bytes.taken())
    }
    for (let index = 0; index < batch.length; index++) {
      const message = batch[index] as Outgoing
      if (bytesOf(message) > mostBytes) {
        told(index, 'failed', fault('TOO_LARGE', `mqtt: at most ${mostBytes} bytes are taken, body and headers`, 'failed'))
        continue
      }
      try {
        const topic = topicOf(message)
        while (!signal.aborted && !write(wire, message, topic, (outcome, error) => told(index, outcome, error))) {
          flush()
          if (!wire.open) break
          // Whoever gives up does not wait for room.
          await Promise.race([wire.room(), done])
        }
        if (bytes.at >= pieceBytes) flush()
      } catch (error) {
        told(index, 'failed', error instanceof RangeError ? fault('TOO_LARGE', `mqtt: ${error.message}`, 'failed') : error)
      }
      if (!wire.open || signal.aborted) {
        flush()
        // What was not written yet was surely not stored.
        const error = fault('UNAVAILABLE', 'mqtt: the connection was lost', 'failed')
        for (let rest = index; rest < batch.length; rest++) told(rest, 'failed', error)
        break
      }
    }
    flush()
    if (open > 0) await done
    signal.removeEventListener('abort', abort)
    return failures.length === 0 ? allStored : new Report(failures)
  }
}

function unlessGivenUp(work: Promise<void>, until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      until.removeEventListener('abort', done)
      resolve()
    }
    until.addEventListener('abort', done, { once: true })
    void work.then(done)
  })
}
