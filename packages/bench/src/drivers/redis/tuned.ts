import { Redis } from 'ioredis'
import type { Client, Handle, Place } from '../../compare/client.ts'
import { newId, newTraceparent, partitionOf, shared, timeText } from '../../compare/wire.ts'
import type { Work } from '../../messages.ts'
import { type Fields, type Reply, streamOf, workIn } from './wire.ts'

// Messages of one script, and scripts on their way at once: what the server gives most with.
const perScript = 500
const scripts = 2
const perRead = 500

const fixed = { maxRetriesPerRequest: 0, enableOfflineQueue: true } as const

// What all messages share is said once per script.
const script = (keyed: boolean): string => `
local ids, n = {}, 0
for i = 4, #ARGV, 6 do
  n = n + 1
  ids[n] = redis.call('XADD', KEYS[tonumber(ARGV[i])], '*', 'ce_specversion', '1.0', 'ce_id', ARGV[i + 1], 'ce_source', ARGV[1],
    'ce_type', ARGV[2], 'ce_time', ARGV[i + 2], ${keyed ? "'ce_partitionkey', ARGV[i + 3], " : ''}'content-type', ARGV[3],
    'traceparent', ARGV[i + 4], 'data', ARGV[i + 5])
end
return ids`

/** What ioredis and the server give at most with the same guarantee: a script of 500 XADDs, ids back, two on their way; 500 entries read ahead, one XACK. */
export const tuned: Client = {
  name: 'tuned',
  promise: 'at least once',
  how: `ids of ${perScript} XADDs per script, ${scripts} in flight; COUNT ${perRead} read ahead, XACK per batch after the handlers`,
  messages: 100_000,
  async open(place) {
    const redis = new Redis(place.url, fixed)
    const sender = await createSender(redis, place)
    return {
      notes: [],
      async declare() {
        for (const group of place.groups)
          for (let p = 0; p < place.partitions; p++) await redis.xgroup('CREATE', streamOf(place.topic, p), group, '0', 'MKSTREAM')
      },
      sendAll: sender.sendAll,
      send: sender.send,
      consume: (handle, group) => consume(place, handle, group),
      async close() {
        await redis.quit()
      },
    }
  },
}

async function createSender(redis: Redis, { topic, partitions, keyed }: Place) {
  const sha = (await redis.script('LOAD', script(keyed))) as string
  const streams = Array.from({ length: partitions }, (_, p) => streamOf(topic, p))
  const head = [shared.source, topic, shared.datacontenttype]
  let spread = 0

  function append(args: string[], work: Work): void {
    const partition = keyed ? partitionOf(work.user, partitions) : spread++ % partitions
    args.push(String(partition + 1), newId(), timeText(), work.user, newTraceparent(), JSON.stringify(work))
  }
  const store = (args: string[]): Promise<unknown> => redis.evalsha(sha, partitions, ...streams, ...args)

  async function sendAll(count: number, make: (n: number) => Work): Promise<void> {
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < count) {
        const args = [...head]
        for (const end = Math.min(count, next + perScript); next < end; next++) append(args, make(next))
        await store(args)
      }
    }
    await Promise.all(Array.from({ length: scripts }, lane))
  }

  // One by one: leaves at once while there is room, and together with what came meanwhile where there is none.
  let inFlight = 0
  let waiting: { args: string[]; resolve: () => void; reject: (error: unknown) => void }[] = []
  function flush(): void {
    if (waiting.length === 0 || inFlight >= scripts) return
    const batch = waiting.slice(0, perScript)
    waiting = waiting.slice(perScript)
    inFlight++
    store([...head, ...batch.flatMap(({ args }) => args)]).then(
      () => {
        inFlight--
        for (const each of batch) each.resolve()
        flush()
      },
      (error: unknown) => {
        inFlight--
        for (const each of batch) each.reject(error)
        flush()
      },
    )
  }
  function send(work: Work): Promise<void> {
    const args: string[] = []
    append(args, work)
    return new Promise((resolve, reject) => {
      waiting.push({ args, resolve, reject })
      flush()
    })
  }
  return { sendAll, send }
}

async function consume({ url, topic, partitions }: Place, handle: Handle, group: string) {
  const reader = new Redis(url, fixed)
  const settler = new Redis(url, fixed)
  const streams = Array.from({ length: partitions }, (_, p) => streamOf(topic, p))
  const newest = streams.map(() => '>')
  const acks = new Set<Promise<unknown>>()
  let open = true

  const read = (from: string[] = newest): Promise<Reply> =>
    reader.xreadgroupBuffer('GROUP', group, 'owner', 'COUNT', perRead, 'BLOCK', 100, 'STREAMS', ...streams, ...from) as Promise<Reply>

  // Entries of one stream one after the other, so that the order of keys is kept; streams side by side.
  function handleStream(stream: Buffer | string, entries: readonly (readonly [Buffer | string, Fields])[]): undefined | Promise<void> {
    const ids: (Buffer | string)[] = []
    const settle = (): void => {
      const ack = settler.xack(stream, group, ...ids)
      acks.add(ack)
      void ack.finally(() => acks.delete(ack))
    }
    for (const [index, [id, fields]] of entries.entries()) {
      const result = handle(workIn(fields))
      ids.push(id)
      if (result instanceof Promise) {
        return (async () => {
          await result
          for (const [laterId, later] of entries.slice(index + 1)) {
            await handle(workIn(later))
            ids.push(laterId)
          }
          settle()
        })()
      }
    }
    settle()
    return undefined
  }

  // What an earlier process was given and did not finish comes first.
  const unfinished = streams.map(() => '0')
  for (let reply = await read(unfinished); reply?.some(([, entries]) => entries.length > 0); reply = await read(unfinished)) {
    for (const [stream, entries] of reply) if (entries.length > 0) await handleStream(stream, entries)
    await Promise.all(acks)
  }

  const loop = (async () => {
    let ahead = read()
    while (open) {
      const reply = await ahead
      if (open) ahead = read()
      const slow = (reply ?? []).map(([stream, entries]) => handleStream(stream, entries)).filter((each) => each !== undefined)
      if (slow.length > 0) await Promise.all(slow)
    }
    for (const [stream, entries] of (await ahead) ?? []) await handleStream(stream, entries)
    await Promise.all(acks)
  })()
  return {
    async close() {
      open = false
      await loop
      reader.disconnect()
      await settler.quit()
    },
  }
}
