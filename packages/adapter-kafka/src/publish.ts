// Storing batches: what goes to one node leaves in one request, every partition's part as one batch, confirmed by all replicas in
// sync. Nothing is repeated here, so nothing needs a producer's numbers; what has no answer is unknown.

import type { Outgoing, Place, PublishReport } from '@posthorn/core/adapter'
import { capabilities } from './capabilities.ts'
import type { Cluster } from './cluster.ts'
import { bytesOf, type Portion, produceBody, writeRecord } from './encode.ts'
import { explain, fault, serverFault } from './explain.ts'
import { readProduced } from './produced.ts'

type Failure = PublishReport['failures'][number]
const { limits } = capabilities
/** A batch stays under what the server takes by default for one partition (1,048,588), its frame included. */
const batchBytes = 900_000
/** Roughly what attributes, names and numbers of a message take. */
const overhead = 400
const moved = new Set([3, 5, 6, 9, 56, 72, 74, 75])

export interface Publisher {
  publish(batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport>
}

interface Part {
  readonly topic: string
  readonly partition: number
  /** Places in the batch, in order. */
  readonly indexes: number[]
  bytes: number
}

/** `topicAt` gives the topic at the server of a place. */
export function createPublisher(cluster: Cluster, topicAt: (place: Place) => string): Publisher {
  const { clock, random } = cluster.context

  async function publish(batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport> {
    if (batch.length > limits.batch) {
      const error = fault('INVALID_ARGUMENT', `kafka: a batch of ${batch.length} is over the limit of ${limits.batch}`, 'failed')
      return { failures: batch.map((_, index) => ({ index, outcome: 'failed', error })), position: () => null }
    }
    const failures: Failure[] = []
    const offsets = new Float64Array(batch.length).fill(-1)
    const chosen = new Int32Array(batch.length).fill(-1)
    const report: PublishReport = {
      failures,
      position: (index) => ((offsets[index] ?? -1) < 0 ? null : `${chosen[index]}:${offsets[index]}`),
    }
    const fail = (index: number, outcome: Failure['outcome'], error: unknown): void => void failures.push({ index, outcome, error })
    if (signal.aborted) {
      for (const index of batch.keys()) fail(index, 'failed', fault('CANCELLED', 'kafka: the publish was given up', 'failed'))
      return report
    }
    /** What may be at the server. */
    const left = new Uint8Array(batch.length)
    const work = (async () => {
      const parts = await partsOf(batch, fail)
      if (parts.length === 1) return await send([parts[0] as Part])
      await Promise.all(nodesOf(parts).map((ofNode) => send(ofNode)))
    })()

    /** Parts that go to one node, and each partition once: a second part of it follows in a request of its own. */
    function nodesOf(parts: readonly Part[]): readonly Part[][] {
      const requests: Part[][] = []
      const rounds = new Map<string, number>()
      const byKey = new Map<string, Part[]>()
      for (const part of parts) {
        const place = `${part.topic} ${part.partition}`
        const round = rounds.get(place) ?? 0
        rounds.set(place, round + 1)
        const key = `${leaderOf(part.topic, part.partition)} ${round}`
        const known = byKey.get(key)
        if (known !== undefined) known.push(part)
        else {
          const list = [part]
          byKey.set(key, list)
          requests.push(list)
        }
      }
      return requests
    }

    async function send(parts: readonly Part[]): Promise<void> {
      const [{ topic: first, partition: one }] = parts as [Part]
      const leader = leaderOf(first, one)
      let answered: ReturnType<typeof readProduced>
      let asked = false
      try {
        if (leader === null) throw serverFault(5, `sending to "${first}"`)
        const connection = await cluster.connection(leader, 'out')
        const topics = new Map<string, Portion[]>()
        for (const { topic, partition, indexes } of parts) {
          const portion: Portion = {
            partition,
            count: indexes.length,
            write: (writer, at) => writeRecord(writer, batch[indexes[at] as number] as Outgoing, at),
            sequence: null,
          }
          const known = topics.get(topic)
          if (known === undefined) topics.set(topic, [portion])
          else known.push(portion)
        }
        // Nobody waits for it any more, and was told that it never left.
        if (signal.aborted) return
        const body = produceBody({ topics, transactionalId: null, timeoutMs: cluster.settings.requestTimeoutMs, now: clock.now() })
        asked = true
        for (const { indexes } of parts) for (const index of indexes) left[index] = 1
        answered = readProduced(await connection.raw({ api: 'Produce', version: 7, body }))
      } catch (error) {
        // A leader that cannot be reached may have been followed by another.
        if (!signal.aborted) void cluster.look(first).catch(() => {})
        const outcome = asked ? 'unknown' : 'failed'
        const shown = asked || explain(error).outcome === 'failed' ? error : notSent(first, error)
        for (const { indexes } of parts) for (const index of indexes) fail(index, outcome, shown)
        return
      }
      const again = new Set<string>()
      for (const { topic, partition, indexes } of parts) {
        const result = answered.get(topic)?.get(partition)
        if (result !== undefined && result.errorCode === 0 && result.offset >= 0) {
          indexes.forEach((index, at) => {
            offsets[index] = result.offset + at
            chosen[index] = partition
          })
          continue
        }
        const error =
          result === undefined || result.errorCode === 0
            ? fault('UNAVAILABLE', `kafka: the server did not say what became of partition ${partition} of "${topic}"`, 'unknown')
            : serverFault(result.errorCode, `sending to "${topic}"`)
        if (result !== undefined && moved.has(result.errorCode)) again.add(topic)
        const outcome = explain(error).outcome === 'failed' ? 'failed' : 'unknown'
        for (const index of indexes) fail(index, outcome, error)
      }
      for (const topic of again) await cluster.look(topic).catch(() => {})
    }

    function leaderOf(topic: string, partition: number): number | null {
      return cluster.known(topic)?.leaders[partition] ?? null
    }

    let abort = (): void => {}
    const aborted = new Promise<PublishReport>((resolve) => {
      abort = () => {
        const ended = new Set(failures.map(({ index }) => index))
        const open: Failure[] = []
        batch.forEach((_, index) => {
          if ((offsets[index] ?? -1) >= 0 || ended.has(index)) return
          const outcome = left[index] === 1 ? 'unknown' : 'failed'
          open.push({ index, outcome, error: fault('CANCELLED', 'kafka: the publish was given up', outcome) })
        })
        resolve({ failures: [...failures, ...open], position: report.position })
      }
      signal.addEventListener('abort', abort, { once: true })
    })
    try {
      return await Promise.race([work.then(() => report), aborted])
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** What goes where; what cannot leave fails by itself. */
  async function partsOf(
    batch: readonly Outgoing[],
    fail: (index: number, outcome: 'failed', error: unknown) => void,
  ): Promise<readonly Part[]> {
    const open = new Map<string, Part>()
    const parts: Part[] = []
    const spread = new Map<string, number>()
    for (let index = 0; index < batch.length; index++) {
      const message = batch[index] as Outgoing
      const topic = topicAt(message.place)
      let count: number
      try {
        refuseEarly(message)
        const meta = cluster.known(topic) ?? (await cluster.look(topic))
        if (meta === null) throw serverFault(3, `sending to "${topic}"`)
        count = meta.leaders.length
        // The client would answer success for a partition that is not there, and write nothing.
        if (message.partition !== null && message.partition >= count)
          throw fault(
            'NOT_FOUND',
            `kafka: topic "${topic}" has ${count} partitions, and none with the number ${message.partition}`,
            'failed',
          )
      } catch (error) {
        fail(index, 'failed', explain(error).outcome === 'failed' ? error : notSent(topic, error))
        continue
      }
      const partition = message.partition ?? spread.get(topic) ?? Math.floor(random() * count)
      spread.set(topic, partition)
      const key = `${topic} ${partition}`
      const bytes = overhead + bytesOf(message)
      let part = open.get(key)
      if (part === undefined || part.bytes + bytes > batchBytes) {
        part = { topic, partition, indexes: [], bytes: 0 }
        open.set(key, part)
        parts.push(part)
      }
      part.indexes.push(index)
      part.bytes += bytes
    }
    return parts
  }

  return { publish }
}

function refuseEarly(message: Outgoing): void {
  if ((message.body?.length ?? 0) < limits.messageBytes / 2 && message.headers === null) return
  const bytes = bytesOf(message)
  if (bytes > limits.messageBytes)
    throw fault('TOO_LARGE', `kafka: a message of ${bytes} bytes is over the limit of ${limits.messageBytes}`, 'failed')
}

/** What is certain: it never left. */
function notSent(topic: string, error: unknown): Error {
  const { code, retryable } = explain(error)
  const text = error instanceof Error ? error.message : String(error)
  return fault(code, `kafka: cannot send to "${topic}": ${text.replace(/^kafka: /, '')}`, 'failed', retryable)
}
