// kafkajs 2.2.4, and nowhere else. What is used of it: connections with TLS and every way to log in, and the wire form of the small
// requests. Its producer, consumer, retries and timers are not: they acknowledge what was never written, restart everything for one
// error, and take a broker's partitions for one queue. The insides that are used are named below and held by a test.

import { setMaxListeners } from 'node:events'
import { createRequire } from 'node:module'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { type AdapterContext, access } from '@posthorn/core/adapter'
import type { Kafka, KafkaConfig } from 'kafkajs'
import type { Address, Connection, OpenConnection, RawRequest, Replies, Requests } from './client.ts'
import { cleaned, fault } from './explain.ts'
import { watchFrames } from './frames.ts'
import type { Settings } from './options.ts'

const require = createRequire(import.meta.url)

interface Encoder {
  buf: Buffer
  offset: number
}
interface WireRequest {
  readonly apiKey: number
  readonly apiVersion: number
  readonly apiName: string
  readonly encode: () => Promise<Encoder>
}
interface WireResponse {
  readonly decode: (payload: Buffer) => Promise<unknown>
  readonly parse: (decoded: unknown) => Promise<unknown>
}
interface Protocol {
  readonly request: WireRequest
  readonly response: WireResponse
}
interface Definition {
  readonly versions: readonly string[]
  protocol(asked: { readonly version: number }): (body: unknown) => Protocol
}
type Versions = Readonly<Record<number, { readonly minVersion: number; readonly maxVersion: number }>>
interface KafkajsConnection {
  readonly requestQueue: { scheduleCheckPendingRequests: () => void; maybeThrottle: (ms: number | null) => void }
  connect(): Promise<true>
  authenticate(): Promise<void>
  setVersions(versions: Versions): void
  setSupportAuthenticationProtocol(known: boolean): void
  send(protocol: Protocol & { readonly logResponseError: false }): Promise<unknown>
  rejectRequests(error: Error): void
}
type SocketFactory = (wanted: Address & { readonly ssl: ConnectionOptions | null; readonly onConnect: () => void }) => Socket

const load = <T>(path: string): T => require(`kafkajs/src/${path}`) as T
const ConnectionClass = load<new (options: object) => KafkajsConnection>('network/connection.js')
const { requests } = load<{ readonly requests: Readonly<Record<string, Definition>> }>('protocol/requests/index.js')
const apiKeys = load<Readonly<Record<string, number>>>('protocol/requests/apiKeys.js')
const EncoderClass = load<new (size: number) => Encoder>('protocol/encoder.js')

interface Logger {
  readonly namespace: () => Logger
  readonly info: () => void
  readonly error: () => void
  readonly warn: () => void
  readonly debug: () => void
}
// What it would log is reported as an error or an event by whoever asked, and its lines may hold what nobody should read.
const silent: Logger = { namespace: () => silent, info() {}, error() {}, warn() {}, debug() {} }

/** Versions at which requests are made here. kafkajs never looks whether the server still takes them. */
const fixed: Readonly<Record<string, number>> = {
  Metadata: 6,
  GroupCoordinator: 2,
  JoinGroup: 5,
  SyncGroup: 2,
  Heartbeat: 2,
  LeaveGroup: 2,
  DescribeGroups: 2,
  OffsetCommit: 5,
  OffsetFetch: 7,
  ListOffsets: 3,
  // The same form as version 3, and the server's own number of replicas can be asked for.
  CreateTopics: 4,
  DeleteRecords: 1,
  DescribeConfigs: 2,
  InitProducerId: 1,
  AddPartitionsToTxn: 1,
  AddOffsetsToTxn: 1,
  TxnOffsetCommit: 1,
  EndTxn: 1,
  Produce: 7,
  Fetch: 11,
}

function definitionOf(api: string): (body: unknown) => Protocol {
  const definition = requests[api] as Definition
  const most = Math.max(...definition.versions.map(Number))
  return definition.protocol({ version: Math.min(most, fixed[api] ?? 0) })
}

const asIs = async (decoded: unknown): Promise<unknown> => decoded

function encoded(body: Buffer): Encoder {
  const encoder = new EncoderClass(1)
  encoder.buf = body
  encoder.offset = body.length
  return encoder
}

/** The way to open connections with these settings. */
export function kafkajsConnections(settings: Settings, context: AdapterContext): OpenConnection {
  const nodes = new Map<string, Heard>()
  function nodeAt({ host, port }: Address): Heard {
    const key = `${host} ${port}`
    const known = nodes.get(key) ?? { at: Number.NEGATIVE_INFINITY }
    nodes.set(key, known)
    return known
  }
  const securing = access.watchVerifying(context)
  return async (address, signal) => {
    const [tls, sasl] = await access.answer(() => Promise.all([settings.tls(), settings.login()]), {
      clock: context.clock,
      withinMs: settings.connectTimeoutMs,
      signal,
      attempted: 'kafka: connecting',
      asked: 'the functions "tls", "password" and "token"',
    })
    signal.throwIfAborted()
    securing(tls)
    let socket: Socket | null = null
    const socketFactory: SocketFactory = ({ host, port, ssl, onConnect }) => {
      const made =
        ssl === null
          ? connectTcp({ host, port }, onConnect)
          : connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...ssl }, onConnect)
      made.setNoDelay(true)
      made.setKeepAlive(true, 30_000)
      socket = made
      return made
    }
    const inner = new ConnectionClass({
      host: address.host,
      port: address.port,
      ssl: tls,
      sasl,
      clientId: context.name,
      logger: silent,
      socketFactory,
      // Deadlines are ours, and so are the clock and the timers behind them.
      connectionTimeout: 2 ** 31 - 1,
      requestTimeout: 2 ** 31 - 1,
      enforceRequestTimeout: false,
      maxInFlightRequests: null,
    })
    // Its own form of this re-arms a timer of a millisecond for ever.
    inner.requestQueue.scheduleCheckPendingRequests = () => {}
    // Without it nothing would send what a quota holds back here. The server holds it back itself: it reads no more for that time.
    inner.requestQueue.maybeThrottle = () => {}
    const connection = wrap(inner, () => socket, nodeAt(address), settings, context)
    const giveUp = (): void => connection.close(fault('CANCELLED', `kafka: connecting to ${address.host}:${address.port} was given up`))
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      await connection.open(address)
      return connection
    } catch (error) {
      connection.close()
      throw cleaned(error, `kafka: cannot connect to ${address.host}:${address.port}: `)
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }
}

/** When any connection of the session to one node heard something: a slow way is told from a dead one by its neighbours. */
interface Heard {
  at: number
}

// A timer that comes this late says that this process stood still: what came meanwhile is read first.
const stoodStillMs = 300

function wrap(
  inner: KafkajsConnection,
  socketNow: () => Socket | null,
  heard: Heard,
  settings: Settings,
  context: AdapterContext,
): Connection & { open(address: Address): Promise<void> } {
  const { clock } = context
  const lost = new AbortController()
  setMaxListeners(0, lost.signal)
  // What waits for an answer: until when the server may be silent over it.
  const waiting = new Set<{ readonly patienceMs: number; readonly number: number; readonly sentAt: number }>()
  let sent = 0
  /** The latest request that has its answer: one before it without an answer will have none. */
  let answered = 0
  let cancel: (() => void) | null = null
  /** Of the latest request that the server answered without waiting for anything: where the way is slow, silence is longer. */
  let roundTripMs = 0
  let movedAt = clock.monotonic()
  let written = 0
  let backlog = false
  let versions: Versions = {}

  function close(error?: Error): void {
    if (lost.signal.aborted) return
    const reason = error ?? fault('UNAVAILABLE', 'kafka: the connection was closed', 'unknown')
    lost.abort(reason)
    cancel?.()
    cancel = null
    inner.rejectRequests(reason)
    const socket = socketNow()
    socket?.on('error', () => {})
    // An error is what ends the client's own waiting, and its timer.
    socket?.destroy(reason)
  }

  // Bytes that arrive are a sign of life, and so are bytes of ours that could leave only now, however slow the way is. What the
  // system takes off our hands at once says nothing.
  function look(): void {
    cancel = null
    const socket = socketNow()
    const now = clock.monotonic()
    const left = socket === null ? 0 : socket.bytesWritten - socket.writableLength
    if ((backlog && left !== written) || waiting.size === 0) movedAt = now
    written = left
    backlog = (socket?.writableLength ?? 0) > 0
    const least = settings.requestTimeoutMs + 2 * roundTripMs
    let patience = least
    for (const each of waiting) patience = Math.max(patience, each.patienceMs)
    const passed = [...waiting].some(({ number, sentAt, patienceMs }) => number < answered && now - sentAt >= Math.max(least, patienceMs))
    const due = movedAt + patience
    const until = Math.max(due, Math.min(due, heard.at) + least)
    if (passed || (waiting.size > 0 && now >= until)) {
      close(fault('UNAVAILABLE', `kafka: the server did not answer for ${Math.round(passed ? least : now - movedAt)} ms`, 'unknown'))
      return
    }
    if (waiting.size > 0) lookIn(Math.min(settings.requestTimeoutMs / 10, until - now))
  }

  function lookIn(ms: number): void {
    const at = clock.monotonic() + ms
    cancel = clock.timer(ms, () => (clock.monotonic() - at > stoodStillMs ? lookIn(stoodStillMs) : look()))
  }

  async function send(protocol: Protocol, patienceMs: number): Promise<unknown> {
    if (lost.signal.aborted) throw lost.signal.reason
    const wait = { patienceMs, number: ++sent, sentAt: clock.monotonic() }
    if (waiting.size === 0) movedAt = wait.sentAt
    waiting.add(wait)
    if (cancel === null) look()
    try {
      const answer = await inner.send({ ...protocol, logResponseError: false })
      answered = Math.max(answered, wait.number)
      if (patienceMs === 0) roundTripMs = clock.monotonic() - wait.sentAt
      return answer
    } catch (error) {
      // An answer that cannot be read: what comes behind it is no better.
      if (!lost.signal.aborted) close(cleaned(error))
      throw lost.signal.reason
    } finally {
      waiting.delete(wait)
      if (waiting.size === 0) {
        cancel?.()
        cancel = null
      }
    }
  }

  return {
    lost: lost.signal,
    close,
    takes(api, version) {
      const range = versions[apiKeys[api] as number]
      return range !== undefined && version >= range.minVersion && version <= range.maxVersion
    },
    async open(address) {
      const what = `kafka: ${address.host}:${address.port} `
      let cancelDeadline = (): void => {}
      const overdue = new Promise<never>((_, reject) => {
        cancelDeadline = clock.timer(settings.connectTimeoutMs, () =>
          reject(fault('UNAVAILABLE', `${what}did not answer within ${settings.connectTimeoutMs} ms`)),
        )
        lost.signal.addEventListener('abort', () => reject(lost.signal.reason), { once: true })
      })
      overdue.catch(() => {})
      const work = (async () => {
        await inner.connect()
        const ended = (): void => close(fault('UNAVAILABLE', `${what}closed the connection`, 'unknown'))
        // An end while it logs in is not a refusal, which is how the client would tell it: whoever comes first is believed.
        socketNow()?.on('close', ended)
        socketNow()?.on('end', ended)
        socketNow()?.on('error', (error) => close(cleaned(error, what)))
        const frames = watchFrames((length) =>
          close(fault('UNAVAILABLE', `${what}sent an answer of ${length} bytes, which is none`, 'unknown')),
        )
        socketNow()?.on('data', (chunk: Uint8Array) => {
          movedAt = heard.at = clock.monotonic()
          frames(chunk)
        })
        versions = await versionsOf(inner)
        refuseOld(versions, what)
        inner.setVersions(versions)
        inner.setSupportAuthenticationProtocol(versions[apiKeys.SaslAuthenticate as number] !== undefined)
        await inner.authenticate()
      })()
      work.catch(() => {})
      try {
        await Promise.race([work, overdue])
      } finally {
        cancelDeadline()
      }
    },
    async request<A extends keyof Requests>(api: A, body: Requests[A], patienceMs = 0): Promise<Replies[A]> {
      const { request, response } = definitionOf(api)(body)
      const versioned = api === 'CreateTopics' ? { ...request, apiVersion: 4 } : request
      return (await send({ request: versioned, response: { decode: response.decode, parse: asIs } }, patienceMs)) as Replies[A]
    },
    async raw({ api, version, body }: RawRequest, patienceMs = 0): Promise<Buffer> {
      const request = { apiKey: apiKeys[api] as number, apiVersion: version, apiName: api, encode: async () => encoded(body) }
      const response = { decode: async (payload: Buffer) => ({ payload }), parse: asIs }
      return ((await send({ request, response }, patienceMs)) as { readonly payload: Buffer }).payload
    },
  }
}

async function versionsOf(inner: KafkajsConnection): Promise<Versions> {
  const { request, response } = (requests.ApiVersions as Definition).protocol({ version: 2 })({})
  const reply = (await inner.send({ request, response: { decode: response.decode, parse: asIs }, logResponseError: false })) as {
    readonly apiVersions: readonly { readonly apiKey: number; readonly minVersion: number; readonly maxVersion: number }[]
  }
  return Object.fromEntries(reply.apiVersions.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { minVersion, maxVersion }]))
}

/** A server that does not take one of our requests any more, or not yet, is refused with a clear word. */
function refuseOld(versions: Versions, what: string): void {
  for (const [api, version] of Object.entries(fixed)) {
    const range = versions[apiKeys[api] as number]
    if (range !== undefined && version >= range.minVersion && version <= range.maxVersion) continue
    const has = range === undefined ? 'does not know it' : `takes ${range.minVersion} to ${range.maxVersion}`
    throw fault(
      'UNSUPPORTED',
      `${what}is no server for this adapter: it asks ${api} in version ${version}, and the server ${has}. use Kafka 2.5 to 4.x`,
      'failed',
    )
  }
}

interface Kafkajs {
  readonly Kafka: new (config: KafkaConfig) => Kafka
  readonly CompressionCodecs: Readonly<Record<number, () => { readonly decompress: (bytes: Buffer) => Buffer | Promise<Buffer> }>>
}

/** A codec that the application gave kafkajs under `CompressionCodecs`, or undefined. It has to answer at once. */
export function registeredCodec(codec: number): ((bytes: Buffer) => Buffer) | undefined {
  const { CompressionCodecs } = require('kafkajs') as Kafkajs
  let decompress: ((bytes: Buffer) => Buffer | Promise<Buffer>) | undefined
  try {
    decompress = CompressionCodecs[codec]?.().decompress
  } catch {
    // kafkajs has one in this place that only throws.
  }
  if (decompress === undefined) return undefined
  return (bytes) => {
    const plain = decompress(bytes)
    if (!Buffer.isBuffer(plain)) throw new Error('the codec that was given to kafkajs does not answer at once, as it has to here')
    return plain
  }
}

/** A client of kafkajs with the same settings, for what an application wants of it beside us. It connects when it is used. */
export async function kafkajsClient(settings: Settings, context: AdapterContext): Promise<Kafka> {
  const { Kafka: Client } = require('kafkajs') as Kafkajs
  const [ssl, sasl] = await Promise.all([settings.tls(), settings.login()])
  return new Client({
    clientId: context.name,
    brokers: settings.seeds.map(({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)),
    logLevel: 0,
    ...(ssl === null ? {} : { ssl }),
    ...(sasl === null ? {} : { sasl: sasl as unknown as NonNullable<KafkaConfig['sasl']> }),
  })
}
