// Storing a batch: one script per topic, which looks for groups and the partition count first and answers with the ids.

import type { Outgoing, PublishReport } from '@posthorn/core/adapter'
import { best } from './capabilities.ts'
import type { Core } from './core.ts'
import { bytesOf, countFields, countRest, type Head, headOf, isUsual, usualItems, writeFields, writeRest, writeUsual } from './encode.ts'
import { cleaned, explain, fault } from './explain.ts'
import { keyOf, streamOf } from './keys.ts'
import { type PackWriter, packReader, packWriter } from './pack.ts'
import { scripts } from './scripts.ts'

type Failure = PublishReport['failures'][number]

const nothing: readonly Failure[] = Object.freeze([])

// Lua passes on about 8,000 values at once. Only dead letters of others' messages can have so many.
const mostItems = 7000

/** What one script stores: the messages of one topic, by their places in the batch. */
interface Part {
  readonly topic: string
  readonly indexes: number[]
  /** Of each, the partition where its position is; -1: it has none, being delayed, parked or dead. */
  readonly partitions: number[]
  /** Of the partitions that it writes to, the place of their stream among what is sent. */
  readonly streams: (number | undefined)[]
  /** Something is delayed, parked or dead. */
  mixed: boolean
}

/**
 * Positions of what was stored, made from the reply only when somebody asks. It holds no message: every receipt holds it, and
 * an application may keep receipts.
 */
class Report implements PublishReport {
  readonly failures: readonly Failure[]
  readonly #size: number
  readonly #parts: readonly { readonly part: Part; readonly ids: Buffer | null }[]
  #positions: (string | null)[] | null = null

  constructor(failures: readonly Failure[], size: number, parts: readonly { readonly part: Part; readonly ids: Buffer | null }[]) {
    this.failures = failures
    this.#size = size
    this.#parts = parts
  }

  position(index: number): string | null {
    if (this.#positions === null) {
      const positions = new Array<string | null>(this.#size).fill(null)
      for (const { part, ids } of this.#parts) {
        if (ids === null) continue
        const texts = ids.toString('latin1').split(',')
        part.indexes.forEach((at, nth) => {
          const id = texts[nth]
          const partition = part.partitions[nth] ?? -1
          if (id !== undefined && id !== '' && partition >= 0) positions[at] = `${partition}:${id}`
        })
      }
      this.#positions = positions
    }
    return this.#positions[index] ?? null
  }
}

/** Stores a batch. Resolves always; an abort turns what is open into unknown. */
export async function publish(core: Core, batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport> {
  const failures: Failure[] = []
  const all = (outcome: 'failed' | 'unknown', error: unknown): PublishReport =>
    new Report(
      batch.map((_, index) => ({ index, outcome, error })),
      batch.length,
      [],
    )
  if (core.closed) return all('failed', fault('CLOSED', 'redis: the session is closed', 'failed'))
  if (signal.aborted) return all('failed', fault('CANCELLED', 'redis: the publish was given up before it began', 'failed'))
  if (batch.length > best.limits.batch)
    return all('failed', fault('INVALID_ARGUMENT', `redis: a batch of ${batch.length} is over the limit of ${best.limits.batch}`, 'failed'))
  // Nothing has left yet: what is given up while the connection is away was not stored.
  if (core.main.client === null && !(await core.main.ready(signal)))
    return all('failed', fault('UNAVAILABLE', 'redis: the connection is away; connecting again', 'failed'))
  const large: number[] = []
  const parts = partsOf(batch, failures, large)
  const done: { readonly part: Part; readonly ids: Buffer | null }[] = []
  const work = parts.map(async (part) => {
    const ids = await storePart(core, batch, part, failures)
    done.push({ part, ids })
  })
  for (const index of large) {
    const part: Part = { topic: batch[index]?.place.topic ?? '', indexes: [index], partitions: [-1], streams: [], mixed: true }
    parts.push(part)
    work.push(
      storeLarge(core, batch[index] as Outgoing, index, failures).then(() => {
        done.push({ part, ids: null })
      }),
    )
  }
  if (work.length > 0 && !(await settledOrAborted(Promise.all(work), signal))) {
    const open = new Set(parts)
    for (const { part } of done) open.delete(part)
    const error = fault('CANCELLED', 'redis: the publish was given up', 'unknown')
    const known = [...failures]
    for (const part of open) for (const index of part.indexes) known.push({ index, outcome: 'unknown', error })
    return new Report(known, batch.length, [...done])
  }
  return new Report(failures.length === 0 ? nothing : failures, batch.length, done)
}

function settledOrAborted(work: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const abort = (): void => resolve(false)
    signal.addEventListener('abort', abort, { once: true })
    void work.then(() => {
      signal.removeEventListener('abort', abort)
      resolve(true)
    })
  })
}

function partsOf(batch: readonly Outgoing[], failures: Failure[], large: number[]): Part[] {
  const parts: Part[] = []
  let last: Part | undefined
  for (let index = 0; index < batch.length; index++) {
    const message = batch[index] as Outgoing
    const problem = refusal(message)
    if (problem !== null) {
      failures.push({ index, outcome: 'failed', error: problem })
      continue
    }
    if (message.place.role === 'dead' && countFields(message) > mostItems) {
      large.push(index)
      continue
    }
    const { topic } = message.place
    if (last === undefined || last.topic !== topic) {
      last = parts.find((each) => each.topic === topic)
      if (last === undefined) {
        last = { topic, indexes: [], partitions: [], streams: [], mixed: false }
        parts.push(last)
      }
    }
    last.indexes.push(index)
    const direct = message.place.role === 'main' && message.delayMs === 0
    last.partitions.push(direct ? (message.partition ?? 0) : -1)
    if (!direct) last.mixed = true
  }
  return parts
}

/** Why a message cannot be stored at all, or null. */
export function refusal(message: Outgoing): Error | null {
  const { limits } = best
  // Only what may be too large is measured.
  if ((message.body?.length ?? 0) > limits.messageBytes / 2 || message.headers !== null) {
    const bytes = bytesOf(message)
    if (bytes > limits.messageBytes)
      return fault('TOO_LARGE', `redis: a message of ${bytes} bytes is over the limit of ${limits.messageBytes}`, 'failed')
  }
  if (message.delayMs !== 0 && !(message.delayMs > 0 && message.delayMs <= limits.delayMs))
    return fault('INVALID_ARGUMENT', `redis: a delay must be between 0 and ${limits.delayMs} ms`, 'failed')
  return null
}

async function storePart(core: Core, batch: readonly Outgoing[], part: Part, failures: Failure[]): Promise<Buffer | null> {
  const { topic, indexes } = part
  const fail = (outcome: 'failed' | 'unknown', error: unknown): null => {
    for (const index of indexes) failures.push({ index, outcome, error })
    return null
  }
  const partitions = core.partitionsOf(topic)
  let packed: PackWriter
  try {
    packed = packBatch(batch, part, partitions ?? 1)
  } catch (error) {
    return fail(
      'failed',
      fault('INTERNAL', `redis: a message could not be encoded: ${error instanceof Error ? error.message : ''}`, 'failed'),
    )
  }
  let reply: unknown
  try {
    const args = [partitions === undefined ? '' : String(partitions), packed.take()]
    reply = await core.main.run(part.mixed ? scripts.store : scripts.publish, [keyOf(topic, 'meta')], args)
  } catch (error) {
    return fail(explain(error).outcome === 'failed' ? 'failed' : 'unknown', error)
  }
  // The server has read it all. Without its answer somebody may still be sending it.
  if (rooms.length < mostRooms && packed.room.length <= largestRoom) rooms.push(packed.room)
  const [status, ids, ...bad] = reply as [Buffer, Buffer, ...unknown[]]
  const word = String(status)
  if (word === 'OK') {
    if (bad.length > 0) {
      const gone = await spoilt(core, topic, bad)
      for (let at = 0; at + 1 < bad.length; at += 2) {
        const error = gone ?? cleaned(replyError(String(bad[at + 1])), 'redis: the publish was refused: ')
        const outcome = explain(error).outcome === 'failed' ? 'failed' : 'unknown'
        failures.push({ index: indexes[Number(bad[at])] ?? 0, outcome, error })
      }
    }
    return ids
  }
  if (word === 'CONFLICT')
    return fail('failed', fault('CONFLICT', `redis: topic "${topic}" has ${String(ids)} partitions, not ${partitions}`, 'failed'))
  return fail('failed', word === 'GONE' ? await missing(core, topic) : nowhere(topic))
}

// First the entry, then its slot: what is lost in between is an entry too many, never one too few.
async function storeLarge(core: Core, message: Outgoing, index: number, failures: Failure[]): Promise<void> {
  const { topic, group } = message.place
  try {
    const fields = packWriter(64 * 1024)
    writeFields(fields, message)
    const reader = packReader(fields.take())
    const args: (string | Buffer)[] = [keyOf(topic, `dead:${group ?? ''}`), '*', 'ph-slot', message.slot ?? '']
    for (let left = countFields(message); left > 0; left--) {
      const length = reader.string()
      args.push(reader.buffer.subarray(reader.at, reader.at + length))
      reader.at += length
    }
    const id = String(await core.main.call('xadd', args))
    const link = packWriter(256)
    link.list(1)
    link.list(4)
    for (const word of ['y', group ?? '', message.slot ?? '', id]) link.text(word)
    const partitions = core.partitionsOf(topic)
    const words = [partitions === undefined ? '' : String(partitions), link.take()]
    const [, , ...bad] = (await core.main.run(scripts.store, [keyOf(topic, 'meta')], words)) as readonly unknown[]
    if (bad.length > 0) throw (await spoilt(core, topic, bad)) ?? cleaned(replyError(String(bad[1])), 'redis: the publish was refused: ')
  } catch (error) {
    failures.push({ index, outcome: explain(error).outcome === 'failed' ? 'failed' : 'unknown', error })
  }
}

function replyError(text: string): Error {
  const error = new Error(text)
  error.name = 'ReplyError'
  return error
}

async function spoilt(core: Core, topic: string, bad: readonly unknown[]): Promise<Error | null> {
  const why = String(bad[1])
  if (why.startsWith('GONE')) return missing(core, topic)
  return why.startsWith('NOGROUP') ? nowhere(topic) : null
}

/** Nobody would get it, and the server knows the topic: somebody took its groups away. */
function nowhere(topic: string): Error {
  return fault('NOT_FOUND', `redis: topic "${topic}" has no group, so the message would be dropped`, 'failed')
}

/** The server has forgotten it. What this session declared with groups is made again, and then the same call may work. */
async function missing(core: Core, topic: string): Promise<Error> {
  const plan = core.plans.get(topic)
  if (plan === undefined || !plan.create || plan.groups.length === 0) return nowhere(topic)
  try {
    await core.declareAgain(topic)
    return fault('UNAVAILABLE', `redis: topic "${topic}" was gone from the server; it is declared again`, 'failed')
  } catch (error) {
    return cleaned(error)
  }
}

// ── packing ────────────────────────────────────────────────────────────────────────────────────────────────────────

const streams = new Map<string, Buffer>()

/** `<stream> *`, packed: the first words of an XADD. */
function streamWords(topic: string, partition: number): Buffer {
  const key = streamOf(topic, partition)
  let words = streams.get(key)
  if (words === undefined) {
    const writer = packWriter(key.length + 16)
    writer.text(key)
    writer.text('*')
    words = Buffer.from(writer.take())
    if (streams.size > 10_000) streams.clear()
    streams.set(key, words)
  }
  return words
}

// Room in which batches were packed, for the next ones: fresh memory costs more than what is written into it.
const rooms: Buffer[] = []
const mostRooms = 2
const largestRoom = 1024 * 1024

function packBatch(batch: readonly Outgoing[], part: Part, partitions: number): PackWriter {
  const writer = packWriter(rooms.pop() ?? 64 * 1024)
  if (part.mixed) {
    writer.list(part.indexes.length)
    for (const index of part.indexes) packStored(writer, batch[index] as Outgoing, partitions)
  } else packPlain(writer, batch, part)
  return writer
}

/** Messages as the script `publish` takes them. */
function packPlain(writer: PackWriter, batch: readonly Outgoing[], { topic, indexes, streams }: Part): void {
  const heads = new Map<Head, number>()
  const keys: string[] = []
  const rests: number[] = []
  let items = 2
  for (const index of indexes) {
    const message = batch[index] as Outgoing
    const partition = message.partition ?? 0
    if (streams[partition] === undefined) streams[partition] = keys.push(streamOf(topic, partition))
    const head = headOf(message)
    if (!heads.has(head)) heads.set(head, heads.size + 1)
    const rest = isUsual(message) ? 0 : countRest(message)
    rests.push(rest)
    items += 3 + (rest === 0 ? usualItems : rest)
  }
  writer.list(items)
  writer.list(keys.length)
  for (const key of keys) writer.text(key)
  writer.list(heads.size)
  for (const { packed, items } of heads.keys()) {
    writer.list(items)
    writer.raw(packed)
  }
  for (let nth = 0; nth < indexes.length; nth++) {
    const message = batch[indexes[nth] as number] as Outgoing
    const rest = rests[nth] as number
    writer.number(streams[message.partition ?? 0] ?? 0)
    writer.number(heads.get(headOf(message)) ?? 0)
    writer.number(rest)
    if (rest === 0) writeUsual(writer, message)
    else writeRest(writer, message)
  }
}

/** A message as the script `store` takes it. */
export function packStored(writer: PackWriter, message: Outgoing, partitions: number): void {
  const { place, delayMs, partition, slot } = message
  const items = countFields(message)
  if (place.role === 'dead') {
    writer.list(3 + items + (slot === null ? 0 : 2))
    writer.text('x')
    writer.text(place.group ?? '')
    writer.text(slot ?? '')
    if (slot !== null) {
      writer.text('ph-slot')
      writer.text(slot)
    }
  } else if (place.role === 'retry') {
    writer.list(3 + items)
    writer.text('r')
    writer.text(place.group ?? '')
    writer.text(String(Math.ceil(delayMs)))
  } else if (delayMs > 0) {
    writer.list(5 + items)
    writer.text('d')
    writer.text('')
    writer.text(String(Math.ceil(delayMs)))
    writer.text('ph-partition')
    writer.text(String((partition ?? 0) % partitions))
  } else {
    writer.list(3 + items)
    writer.text('m')
    writer.raw(streamWords(place.topic, partition ?? 0))
  }
  writeFields(writer, message)
}

/** Outputs of a settlement, per topic: what it must look like, and its packed list. */
export function packOutputs(
  core: Core,
  outputs: readonly Outgoing[],
): readonly { readonly topic: string; readonly partitions: string; readonly packed: Buffer }[] {
  const byTopic = new Map<string, Outgoing[]>()
  for (const output of outputs) {
    const list = byTopic.get(output.place.topic)
    if (list === undefined) byTopic.set(output.place.topic, [output])
    else list.push(output)
  }
  return [...byTopic].map(([topic, list]) => {
    const partitions = core.partitionsOf(topic)
    const writer = packWriter(4096)
    writer.list(list.length)
    for (const output of list) packStored(writer, output, partitions ?? 1)
    return { topic, partitions: partitions === undefined ? '' : String(partitions), packed: writer.take() }
  })
}
