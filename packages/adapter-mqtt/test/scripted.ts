// A server of a few lines that answers as a test wants it: for what no real one does when it is asked to. Version 5 only.

import { createServer, type Socket } from 'node:net'
import type { Outgoing, Source } from '@posthorn/core/adapter'
import type { Core } from '../src/core.ts'
import { type Settings, settingsOf } from '../src/options.ts'
import type { Wire } from '../src/wire.ts'

export type Kind = 'connect' | 'publish' | 'puback' | 'subscribe' | 'unsubscribe' | 'ping' | 'disconnect' | 'other'

/** A packet as it came. */
export interface Heard {
  readonly kind: Kind
  readonly topic: string
  /** 0 where it is not to be answered. */
  readonly id: number
  readonly payload: string
  /** Of a connect. */
  readonly isClean: boolean
}

/** What is done about a packet; undefined: what a server does. */
export type Answer = 'silence' | 'goodbye' | { readonly reason: number } | undefined

export interface Scripted {
  readonly settings: Settings
  readonly heard: Heard[]
  /** Connections that are open. */
  readonly sockets: ReadonlySet<Socket>
  /** Sends a retained message on every connection; with null for its id, none of ours. */
  retain(topic: string, payload: string, messageId?: string | null): void
  close(): Promise<void>
}

const kinds: readonly Kind[] = ['other', 'connect', 'other', 'publish', 'puback', 'other', 'other', 'other']
const kindOf = (type: number): Kind =>
  kinds[type] ?? (['subscribe', 'other', 'unsubscribe', 'other', 'ping', 'other', 'disconnect', 'other'] as const)[type - 8] ?? 'other'

/** A length in one to four bytes, and where it ends. Undefined: not all of it has come. */
function lengthAt(bytes: Buffer, from: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0
  for (let at = from; at < Math.min(bytes.length, from + 4); at++) {
    value |= ((bytes[at] ?? 0) & 127) << (7 * (at - from))
    if ((bytes[at] ?? 0) < 128) return { value, end: at + 1 }
  }
  return undefined
}

function read(first: number, body: Buffer): Heard & { readonly filters: number } {
  const kind = kindOf(first >> 4)
  if (kind === 'publish') {
    const topicEnd = 2 + body.readUInt16BE(0)
    const isAnswered = (first & 6) > 0
    const properties = lengthAt(body, topicEnd + (isAnswered ? 2 : 0)) ?? { value: 0, end: 0 }
    return {
      kind,
      topic: body.subarray(2, topicEnd).toString(),
      id: isAnswered ? body.readUInt16BE(topicEnd) : 0,
      payload: body.subarray(properties.end + properties.value).toString(),
      isClean: false,
      filters: 0,
    }
  }
  const isClean = kind === 'connect' && ((body[7] ?? 0) & 2) > 0
  if (kind !== 'subscribe' && kind !== 'unsubscribe') return { kind, topic: '', id: 0, payload: '', isClean, filters: 0 }
  const properties = lengthAt(body, 2) ?? { value: 0, end: 2 }
  const topics: string[] = []
  for (let at = properties.end + properties.value; at < body.length; ) {
    const end = at + 2 + body.readUInt16BE(at)
    topics.push(body.subarray(at + 2, end).toString())
    at = kind === 'subscribe' ? end + 1 : end
  }
  return { kind, topic: topics.join(' '), id: body.readUInt16BE(0), payload: '', isClean, filters: topics.length }
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length >> 8, value.length & 255]), Buffer.from(value)])
const property = (name: string, value: string): Buffer => Buffer.concat([Buffer.from([0x26]), text(name), text(value)])

/** Listens on a free port. */
export async function scripted(answer: (heard: Heard) => Answer = () => undefined): Promise<Scripted> {
  const heard: Heard[] = []
  const sockets = new Set<Socket>()
  let lastId = 0

  function take(socket: Socket, packet: ReturnType<typeof read>): void {
    heard.push(packet)
    const given = answer(packet)
    if (given === 'silence') return
    if (given === 'goodbye') return void socket.destroy()
    const reason = given?.reason ?? 0
    const id = [packet.id >> 8, packet.id & 255]
    const codes = Array.from({ length: packet.filters }, () => (reason > 0 ? reason : packet.kind === 'subscribe' ? 1 : 0))
    if (packet.kind === 'connect') socket.write(Buffer.from([0x20, 3, 0, reason, 0]))
    else if (packet.kind === 'ping') socket.write(Buffer.from([0xd0, 0]))
    else if (packet.kind === 'publish' && packet.id > 0) socket.write(Buffer.from([0x40, 3, ...id, reason]))
    else if (packet.kind === 'subscribe') socket.write(Buffer.from([0x90, 3 + codes.length, ...id, 0, ...codes]))
    else if (packet.kind === 'unsubscribe') socket.write(Buffer.from([0xb0, 3 + codes.length, ...id, 0, ...codes]))
  }

  const server = createServer((socket) => {
    let rest: Buffer = Buffer.alloc(0)
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes])
      for (let length = lengthAt(rest, 1); length !== undefined; length = lengthAt(rest, 1)) {
        const end = length.end + length.value
        if (rest.length < end) return
        const packet = read(rest[0] ?? 0, rest.subarray(length.end, end))
        rest = rest.subarray(end)
        take(socket, packet)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    settings: settingsOf({ url: `mqtt://127.0.0.1:${port}`, keepAliveMs: 1000, connectMs: 500 }),
    heard,
    sockets,
    retain(topic, payload, messageId = 'm') {
      const id = ++lastId
      const properties = messageId === null ? [] : [property('specversion', '1.0'), property('id', messageId)]
      const length = properties.reduce((sum, each) => sum + each.length, 0)
      const body = Buffer.concat([text(topic), Buffer.from([id >> 8, id & 255, length]), ...properties, Buffer.from(payload)])
      if (body.length > 127) throw new Error('a test says less than that')
      for (const socket of sockets) socket.write(Buffer.concat([Buffer.from([0x33, body.length]), body]))
    },
    async close() {
      for (const each of [...sockets]) each.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The clock of this process. */
export const clock: Core['context']['clock'] = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  timer(ms, run) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
}

/** Parts of a session, as the part under test sees them. */
export function coreOf(settings: Settings, parts: Partial<Core> = {}): Core {
  return {
    context: { clock, random: Math.random, instance: 'unit', name: 'unit', report: () => {}, event: () => {} },
    settings,
    closed: false,
    links: new Set(),
    enter: () => {},
    leave: () => {},
    member: () => 'unit',
    state: () => {},
    sessionLost: () => {},
    ...parts,
  } as Core
}

/** A link that has this connection. */
export const linked = (wire: Wire): Core['main'] => ({
  wire,
  ready: () => Promise.resolve(true),
  drop: () => {},
  hurry: () => {},
  close: () => Promise.resolve(),
})

/** Records that know nothing. */
export const nothingKnown = { known: () => undefined } as unknown as Core['records']

export const never: AbortSignal = new AbortController().signal

/** Waits until it holds, for two seconds at most. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 2000
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within two seconds: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export const order = (id: string, over: Partial<Outgoing> = {}): Outgoing => ({
  id,
  key: null,
  body: Buffer.from(id),
  time: 0,
  expiresAt: null,
  attributes: Object.freeze({ specversion: '1.0', source: 'test', type: 'test' }),
  headers: null,
  transport: null,
  place: { topic: 'orders', role: 'main', group: null },
  partition: 0,
  delayMs: 0,
  slot: null,
  ...over,
})

export const sourceOf = (topic: string, group: string, over: Partial<Source> = {}): Source => ({
  topic,
  kind: 'group',
  group,
  keyed: true,
  settleFirst: false,
  atomic: false,
  handOverMs: 1000,
  maxUnsettled: 10,
  maxBytes: 1_000_000,
  native: undefined,
  ...over,
})
