// One network connection: a client object that never connects again, never sends again, and acknowledges nothing by itself.
//
// What is sent leaves as packets that this package writes, with packet ids of its own: the client's outgoing store would keep copies
// and send them again. What comes in is held back by the client's public hook: called with an error it goes on to the next packet
// without an acknowledgement, which leaves later, in the order in which the messages came.

import { access, type Clock } from '@posthorn/core/adapter'
import mqtt, { type IConnackPacket, type IPublishPacket, type MqttClient, type Packet } from 'mqtt'
import { Bytes } from './bytes.ts'
import { topicBytes, writePlain } from './encode.ts'
import { cleaned, ended, fault, refusal } from './explain.ts'
import { lastId, mostIds, ownIds } from './ids.ts'
import type { Settings, Tls } from './options.ts'

const held = new Error('held: acknowledged when it is handled')
const pingRequest = Buffer.from([0xc0, 0])
const goodbye = Buffer.from([0xe0, 0])
/** For as long as a server keeps anything. */
export const forever = 0xffff_ffff
const never = { set: (): number => 1, clear: (): void => {} }

/** How to connect, and as whom. */
export interface WireOptions {
  readonly settings: Settings
  readonly clock: Clock
  readonly clientId: string
  /** Forget what was stored under this client id. */
  readonly clean: boolean
  /** How long the server keeps the session when the connection has ended, in seconds. Version 3.1.1 knows only `forever` and not at all. */
  readonly expirySeconds: number
  readonly receiveMaximum: number
  /** A retained message to clear when the connection has ended without a word. */
  readonly will?: string
  /** `at-once`: what came is acknowledged when it was taken. `later`: by `acknowledge`. */
  readonly acknowledge: 'at-once' | 'later'
  /** A message came. False: nothing more is taken from the socket until `resume`. */
  onMessage(packet: IPublishPacket): boolean
  /** The connection is over, once. */
  onEnd(error: Error): void
}

/** A subscription to one filter. */
export interface Filter {
  readonly topic: string
  /** Retained messages are sent at once; otherwise never. */
  readonly retained: boolean
}

/** See the file. */
export interface Wire {
  readonly client: MqttClient
  readonly sessionPresent: boolean
  /** How long the server keeps the session, in seconds, where it says another time than it was asked for. */
  readonly grantedSeconds: number | null
  readonly maximumPacketSize: number
  /** What the server said of itself when it let us in; empty in version 3.1.1. */
  readonly properties: NonNullable<IConnackPacket['properties']>
  readonly open: boolean
  /** Publishes that are not answered yet. */
  readonly pending: number
  /** Takes a packet id for one publish: 0 while as many are open as the server takes. `done` is told the reason, or null when the connection ended first. */
  begin(done: (reason: number | null) => void): number
  /** Nothing was sent under this id: it is free again, and nobody is told. */
  forget(id: number): void
  /** Resolves when there is room for another publish, or the connection has ended. */
  room(): Promise<void>
  send(bytes: Uint8Array): void
  /** Publishes bytes, acknowledged. Resolves with the reason. */
  store(topic: string, payload: Uint8Array, options: { readonly retain: boolean; readonly expirySeconds?: number }): Promise<number>
  /** Publishes bytes, not acknowledged. */
  post(topic: Buffer, payload: Uint8Array): void
  /** Acknowledges messages, in the order in which they came. */
  acknowledge(packetIds: readonly number[]): void
  /** Rejects where the server refuses one of them. */
  subscribe(filters: readonly Filter[]): Promise<void>
  unsubscribe(topics: readonly string[]): Promise<void>
  /** A round trip. Rejects when the connection ends first. */
  ping(): Promise<void>
  resume(): void
  /** Says goodbye; the session stays as long as was agreed. Resolves when the socket is closed. */
  close(): Promise<void>
  destroy(): void
}

/** Connects. Rejects with what the server or the socket said; an abort drops the socket, at any time. */
export async function openWire(options: WireOptions, signal: AbortSignal): Promise<Wire> {
  const { settings, clock } = options
  const asked = 'the functions "password" and "tls"'
  const bounds = { clock, withinMs: settings.connectMs, signal, attempted: 'mqtt: connecting', asked }
  const [password, tls] = await access.answer(() => Promise.all([settings.password(), settings.secure ? settings.tls() : null]), bounds)
  return openAs(password, tls, options, signal)
}

function openAs(password: string | null, tls: Tls | null, options: WireOptions, signal: AbortSignal): Promise<Wire> {
  const { settings, clock } = options
  if (signal.aborted) return Promise.reject(fault('CANCELLED', 'mqtt: connecting was given up'))
  const { version } = settings
  const done: (((reason: number | null) => void) | undefined)[] = []
  const asking = new Set<(error: Error) => void>()
  const pings: { resolve(): void; reject(error: Error): void }[] = []
  const small = new Bytes(1024)
  let rooms: (() => void)[] = []
  let roomSoon = false
  let pending = 0
  let nextId = 1
  let window = settings.window
  let open = false
  let over = false
  let problem: Error | null = null
  let goOn: (() => void) | null = null
  let closed: (() => void)[] = []
  /** Packets that came: whoever waits for one waits as long as others come before it. */
  let came = 0
  let unguard = (): void => {}

  const client = mqtt.connect({
    protocol: tls === null ? 'mqtt' : 'mqtts',
    host: settings.host,
    port: settings.port,
    ...(settings.username === null ? {} : { username: settings.username }),
    ...(password === null ? {} : { password }),
    ...(tls ?? {}),
    protocolVersion: version,
    clientId: options.clientId,
    // What is not clean lasts for ever in version 3.1.1: nobody would ever take away what has a name of its own.
    clean: options.clean || (version === 4 && options.expirySeconds !== forever),
    keepalive: settings.keepAliveMs / 1000,
    // Signs of life are this package's own: their answers are what ownership is believed by.
    timerVariant: never,
    connectTimeout: settings.connectMs + 60_000,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    messageIdProvider: ownIds(),
    ...(version === 5 ? { properties: { sessionExpiryInterval: options.expirySeconds, receiveMaximum: options.receiveMaximum } } : {}),
    ...(options.will === undefined
      ? {}
      : {
          will: {
            topic: options.will,
            payload: Buffer.alloc(0),
            qos: 1 as const,
            retain: true,
            ...(version === 5 ? { properties: { willDelayInterval: settings.willMs / 1000 } } : {}),
          },
        }),
  })

  client.handleMessage = (packet, next) => {
    if (over) return
    const answer = packet.qos === 0 || options.acknowledge === 'at-once' ? undefined : held
    if (options.onMessage(packet)) return next(answer)
    goOn = () => next(answer)
  }
  client.on('packetreceive', (packet: Packet) => {
    came++
    if (packet.cmd === 'puback') {
      const id = packet.messageId ?? 0
      const told = done[id]
      if (told === undefined) return
      done[id] = undefined
      pending--
      told(packet.reasonCode ?? 0)
      // Not from here: the refill of a window inside the acknowledgement writes packet by packet.
      if (rooms.length > 0 && !roomSoon) {
        roomSoon = true
        clock.timer(0, makeRoom)
      }
    } else if (packet.cmd === 'pingresp') pings.shift()?.resolve()
    else if (packet.cmd === 'disconnect' && (packet.reasonCode ?? 0) > 0) problem ??= ended(packet.reasonCode ?? 0)
  })

  function makeRoom(): void {
    roomSoon = false
    const waiting = rooms
    rooms = []
    for (const each of waiting) each()
  }

  function end(error: Error): void {
    if (over) return
    over = true
    const told = open
    open = false
    for (let id = 1; id < done.length; id++) {
      const each = done[id]
      done[id] = undefined
      each?.(null)
    }
    pending = 0
    for (const each of pings.splice(0)) each.reject(error)
    for (const each of [...asking]) each(error)
    unguard()
    makeRoom()
    client.end(true)
    if (told) options.onEnd(error)
  }

  return new Promise((resolve, reject) => {
    const late = (): void =>
      fail(
        fault(
          'UNAVAILABLE',
          `mqtt: ${settings.host}:${settings.port} did not answer within ${settings.connectMs} ms${tls === null ? '' : '. TLS was begun there; a port without TLS is reached by mqtt://'}`,
        ),
      )
    const cancelTimer = clock.timer(settings.connectMs, late)
    const abort = (): void => fail(fault('CANCELLED', 'mqtt: the connection was given up'))
    unguard = () => signal.removeEventListener('abort', abort)
    function fail(error: Error): void {
      cancelTimer()
      problem = error
      end(error)
      client.stream.destroy()
      reject(error)
    }
    signal.addEventListener('abort', abort, { once: true })
    client.on('error', (error) => {
      problem ??= cleaned(error, 'mqtt: ')
      // A packet that cannot be read leaves everything behind it unreadable.
      if (open) end(problem)
      else if (!over) fail(withHint(problem))
    })
    client.once('close', () => {
      for (const each of closed) each()
      closed = []
      const error = problem ?? fault('UNAVAILABLE', 'mqtt: the server closed the connection', 'unknown')
      if (open) end(error)
      else if (!over) fail(withHint(error))
    })
    client.once('connect', (packet) => {
      if (over) return
      cancelTimer()
      open = true
      const { properties } = packet
      window = Math.min(settings.window, properties?.receiveMaximum ?? lastId)
      resolve(made(packet.sessionPresent, properties ?? {}))
    })
  })

  // What a port with TLS does to whoever speaks without, and one without it to whoever begins it.
  function withHint(error: Error): Error {
    if (!/ECONNRESET|EPIPE|closed the connection|disconnected before/i.test(error.message)) return error
    const hint = tls === null ? 'a port with TLS is reached by mqtts://' : 'TLS was begun there; a port without TLS is reached by mqtt://'
    return fault('UNAVAILABLE', `${error.message}. ${hint}`)
  }

  function take(told: (reason: number | null) => void): number {
    if (!open || pending >= window) return 0
    for (let tries = 0; tries < mostIds; tries++) {
      const id = nextId
      nextId = id === mostIds ? 1 : id + 1
      if (done[id] === undefined) {
        done[id] = told
        pending++
        return id
      }
    }
    return 0
  }

  function made(sessionPresent: boolean, properties: NonNullable<IConnackPacket['properties']>): Wire {
    if ('setNoDelay' in client.stream && typeof client.stream.setNoDelay === 'function') client.stream.setNoDelay(true)
    const room = (): Promise<void> => (open && pending >= window ? new Promise((resolve) => void rooms.push(resolve)) : Promise.resolve())
    const send = (bytes: Uint8Array): void => {
      if (open) client.stream.write(bytes)
    }
    return {
      client,
      sessionPresent,
      grantedSeconds: properties.sessionExpiryInterval ?? null,
      maximumPacketSize: properties.maximumPacketSize ?? 0xffff_ffff,
      properties,
      get open() {
        return open
      },
      get pending() {
        return pending
      },
      begin: take,
      forget(id) {
        if (done[id] === undefined) return
        done[id] = undefined
        pending--
        makeRoom()
      },
      room,
      send,
      async store(topic, payload, stored) {
        while (open && pending >= window) await room()
        return await new Promise((resolve, reject) => {
          const id = take((reason) =>
            reason === null ? reject(problem ?? fault('UNAVAILABLE', 'mqtt: the connection was lost', 'unknown')) : resolve(reason),
          )
          if (id === 0) return reject(fault('UNAVAILABLE', 'mqtt: the connection is away', 'failed'))
          writePlain(small, version, topicBytes(topic), id, payload, stored)
          send(small.taken())
        })
      },
      post(topic, payload) {
        writePlain(small, version, topic, 0, payload, { retain: false })
        send(small.taken())
      },
      acknowledge(packetIds) {
        const bytes = Buffer.allocUnsafe(packetIds.length * 4)
        let at = 0
        for (const id of packetIds) {
          bytes[at++] = 0x40
          bytes[at++] = 2
          bytes[at++] = id >> 8
          bytes[at++] = id & 255
        }
        send(bytes)
      },
      subscribe(filters) {
        return new Promise((resolve, give) => {
          if (!open) return give(problem ?? fault('UNAVAILABLE', 'mqtt: the connection is away', 'failed'))
          let seen = came
          const late = (): void => {
            if (came === seen) {
              problem ??= fault('UNAVAILABLE', `mqtt: the server did not answer a subscription within ${settings.connectMs} ms`, 'unknown')
              end(problem)
              return void client.stream.destroy()
            }
            seen = came
            cancel = clock.timer(settings.connectMs, late)
          }
          // A way that was cut since the server let us in is noticed by nobody else.
          let cancel = clock.timer(settings.connectMs, late)
          const done = (): void => {
            cancel()
            asking.delete(reject)
          }
          const reject = (error: Error): void => {
            done()
            give(error)
          }
          asking.add(reject)
          const wanted = Object.fromEntries(
            filters.map(({ topic, retained }) => [topic, { qos: 1 as const, rap: true, rh: retained ? 0 : 2 }]),
          )
          client.subscribe(wanted, (error, _granted, packet) => {
            const codes = packet?.granted ?? []
            const bad = codes.find((code) => typeof code === 'number' && code >= 0x80)
            const text = filters.map(({ topic }) => topic).join(', ')
            if (bad !== undefined) reject(refusal(`cannot subscribe to ${text}`, Number(bad) === 0x80 ? 0x87 : Number(bad)))
            else if (error) reject(cleaned(error, `mqtt: cannot subscribe to ${text}: `))
            else if (codes.some((code) => Number(code) < 1))
              reject(fault('UNSUPPORTED', `mqtt: the server grants no acknowledged messages (QoS 1) on ${text}`, 'failed'))
            else {
              done()
              resolve()
            }
          })
        })
      },
      unsubscribe: (topics) =>
        new Promise((resolve) => {
          if (open) client.unsubscribe([...topics], () => resolve())
          else resolve()
        }),
      ping: () =>
        new Promise((resolve, reject) => {
          if (!open) return reject(problem ?? fault('UNAVAILABLE', 'mqtt: the connection was lost', 'unknown'))
          pings.push({ resolve, reject })
          send(pingRequest)
        }),
      resume() {
        const next = goOn
        goOn = null
        next?.()
      },
      close() {
        if (over || !open) return Promise.resolve()
        open = false
        return new Promise((resolve) => {
          const cancel = clock.timer(1000, () => finish())
          const finish = (): void => {
            cancel()
            end(fault('CLOSED', 'mqtt: the connection is closed'))
            client.stream.destroy()
            resolve()
          }
          closed.push(finish)
          client.stream.end(goodbye)
          // What still comes is not for us, and the end is behind it.
          client.stream.unpipe?.()
          client.stream.resume?.()
        })
      },
      destroy() {
        end(fault('UNAVAILABLE', 'mqtt: the connection was given up', 'unknown'))
        client.stream.destroy()
      },
    }
  }
}
