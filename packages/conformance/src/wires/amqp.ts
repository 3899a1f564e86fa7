// AMQP 0-9-1: every answer says what it answers, so what is withheld vanishes alone and everything else flows.

import type { Operation } from '../harness.ts'
import { type AmqpFrame, AmqpScanner, confirmation, flagsAfter, frameTypes } from './amqp-frames.ts'
import { answers, idOf, ids, requests } from './amqp-methods.ts'
import type { Frame, WireReader } from './wire.ts'

/** How the methods that an adapter uses are to be understood. */
export interface AmqpWireOptions {
  /** By name (`basic.qos`, `queue.declare`, `queue.declare passive`, `heartbeat`). Replaces what is known anyway. */
  readonly methods?: Readonly<Record<string, Operation>>
}

/** Header and bodies that belong to a method. */
interface Content {
  /** Bytes of the body that are still to come; null before its header. */
  left: number | null
  readonly operation: Operation | undefined
  readonly requests: number
  readonly lost: boolean
}

interface Channel {
  /** Synchronous requests in order. */
  readonly asked: (Operation | undefined)[]
  /** Messages that will be confirmed. */
  readonly unconfirmed: Set<bigint>
  /** Messages whose confirmation vanished: no later one that says "up to here" may tell of them. */
  readonly lost: Set<bigint>
  /** A returned message vanished; the confirmation that follows it would make it look stored. */
  returnLost: boolean
  confirms: boolean
  nextTag: bigint
  sending: Content | undefined
  receiving: Content | undefined
}

const newChannel = (): Channel => ({
  asked: [],
  unconfirmed: new Set(),
  lost: new Set(),
  returnLost: false,
  confirms: false,
  nextTag: 1n,
  sending: undefined,
  receiving: undefined,
})

type Withholds = (operation: Operation) => boolean
const silent = (bytes: Uint8Array): Frame => ({ bytes, operation: undefined, requests: 0 })
const closing = (operation: Operation, count: number): Frame => ({ bytes: new Uint8Array(0), operation, requests: count })

class AmqpReader implements WireReader {
  readonly ordered = false
  readonly #methods: Readonly<Record<string, Operation>>
  readonly #fromClient = new AmqpScanner(true)
  readonly #fromServer = new AmqpScanner(false)
  readonly #channels = new Map<number, Channel>()

  constructor({ methods = {} }: AmqpWireOptions) {
    this.#methods = methods
  }

  up(chunk: Uint8Array): readonly Frame[] {
    return this.#fromClient.add(chunk).map((frame) => this.#request(frame))
  }

  down(chunk: Uint8Array, withholds: Withholds): readonly Frame[] {
    return this.#fromServer.add(chunk).flatMap((frame) => this.#reply(frame, withholds))
  }

  #channel(number: number): Channel {
    const known = this.#channels.get(number)
    if (known !== undefined) return known
    const channel = newChannel()
    this.#channels.set(number, channel)
    return channel
  }

  #meaning(name: string, operation: Operation | undefined): Operation | undefined {
    return this.#methods[name] ?? operation
  }

  #request(frame: AmqpFrame): Frame {
    const { bytes, type } = frame
    const channel = this.#channel(frame.channel)
    if (type === 0 && frame.channel === 0) {
      channel.asked.push('connect')
      return { bytes, operation: 'connect', requests: 1 }
    }
    if (type === frameTypes.heartbeat) return { bytes, operation: this.#meaning('heartbeat', 'renew'), requests: 0 }
    if (type === frameTypes.method) return this.#asked(frame, channel)
    const content = channel.sending
    if (content === undefined || !carried(content, frame)) return silent(bytes)
    channel.sending = undefined
    return { bytes, operation: content.operation, requests: content.requests }
  }

  #asked({ bytes, payload, channel: number }: AmqpFrame, channel: Channel): Frame {
    const id = methodOf(payload)
    if (id === ids.channelCloseOk) this.#channels.delete(number)
    const method = requests.get(id)
    if (method === undefined) return silent(bytes)
    if (id === ids.publish) {
      const confirmed = channel.confirms
      if (confirmed) channel.unconfirmed.add(channel.nextTag++)
      // The request is whole when its body is.
      channel.sending = { left: null, operation: this.#meaning(method.name, 'publish'), requests: confirmed ? 1 : 0, lost: false }
      return silent(bytes)
    }
    if (id === ids.confirmSelect) channel.confirms = true
    const { flags } = method
    const bits = flags === undefined ? 0 : flagsAfter(payload, flags.from, flags.shortStrings)
    const passive = flags?.passive === true && (bits & 1) !== 0
    const operation = passive ? this.#meaning(`${method.name} passive`, 'inspect') : this.#meaning(method.name, method.operation)
    const awaits = method.awaits && (bits & (flags?.noWait ?? 0)) === 0
    if (awaits) channel.asked.push(operation)
    return { bytes, operation, requests: awaits ? 1 : 0 }
  }

  #reply(frame: AmqpFrame, withholds: Withholds): readonly Frame[] {
    const { bytes, type } = frame
    if (type === 0) return [silent(bytes)]
    const channel = this.#channel(frame.channel)
    if (type === frameTypes.method) return this.#told(frame, channel, withholds)
    if (type === frameTypes.heartbeat) {
      const operation = this.#meaning('heartbeat', 'renew')
      return [{ bytes, operation, requests: 0, lost: operation !== undefined && withholds(operation) ? 1 : undefined }]
    }
    const content = channel.receiving
    if (content === undefined) return [silent(bytes)]
    if (carried(content, frame)) channel.receiving = undefined
    return [{ bytes, operation: content.operation, requests: 0, lost: content.lost ? 0 : undefined }]
  }

  #told(frame: AmqpFrame, channel: Channel, withholds: Withholds): readonly Frame[] {
    const { bytes, payload } = frame
    const id = methodOf(payload)
    if (id === ids.ack || id === ids.nack) return this.#confirmed(frame, channel, withholds)
    if (id === ids.deliver || id === ids.returned) {
      const operation = id === ids.deliver ? this.#meaning('basic.deliver', 'read') : this.#meaning('basic.publish', 'publish')
      const lost = operation !== undefined && withholds(operation)
      if (lost && id === ids.returned) channel.returnLost = true
      channel.receiving = { left: null, operation, requests: 0, lost }
      return [{ bytes, operation, requests: 0, lost: lost ? (id === ids.deliver ? 1 : 0) : undefined }]
    }
    if (id === ids.channelClose || id === ids.connectionClose) return [silent(bytes), ...this.#ended(frame.channel, id)]
    if (!answers.has(id)) return [silent(bytes)]
    const operation = channel.asked.shift()
    const lost = operation !== undefined && withholds(operation)
    if (id === ids.getOk) channel.receiving = { left: null, operation, requests: 0, lost }
    const answer: Frame = { bytes, operation, requests: operation === undefined || lost ? 0 : 1, lost: lost ? 1 : undefined }
    return id === ids.channelCloseOk ? [answer, ...this.#ended(frame.channel, id)] : [answer]
  }

  #confirmed({ bytes, payload, channel: number }: AmqpFrame, channel: Channel, withholds: Withholds): readonly Frame[] {
    const operation = this.#meaning('basic.publish', 'publish')
    const tag = payload.getBigUint64(4)
    const multiple = (payload.getUint8(12) & 1) !== 0
    const covered = multiple ? upTo(channel.unconfirmed, tag) : channel.unconfirmed.has(tag) ? [tag] : []
    for (const one of covered) channel.unconfirmed.delete(one)
    if (operation !== undefined && (withholds(operation) || channel.returnLost)) {
      channel.returnLost = false
      for (const one of covered) channel.lost.add(one)
      return [{ bytes, operation, requests: 0, lost: covered.length }]
    }
    if (!multiple || upTo(channel.lost, tag).length === 0) return [{ bytes, operation, requests: covered.length }]
    const method = payload.getUint16(2)
    return [
      { bytes, operation, requests: 0, lost: 0 },
      ...covered.map((one): Frame => ({ bytes: confirmation(number, method, one), operation, requests: 1 })),
    ]
  }

  /** A channel, or all of them, ended: nothing on it will be answered. */
  #ended(number: number, id: number): readonly Frame[] {
    const ended = id === ids.connectionClose ? [...this.#channels] : [[number, this.#channel(number)] as const]
    const frames: Frame[] = []
    for (const [one, { asked, unconfirmed, lost }] of ended) {
      for (const operation of asked) if (operation !== undefined) frames.push(closing(operation, 1))
      const publish = this.#meaning('basic.publish', 'publish')
      const open = unconfirmed.size + lost.size
      if (open > 0 && publish !== undefined) frames.push(closing(publish, open))
      this.#channels.set(one, newChannel())
    }
    return frames
  }
}

const methodOf = (payload: DataView): number => (payload.byteLength < 4 ? 0 : idOf(payload.getUint16(0), payload.getUint16(2)))

/** Takes a frame of a content; true when it was the last. */
function carried(content: Content, { type, payload }: AmqpFrame): boolean {
  if (type === frameTypes.header) content.left = payload.byteLength < 12 ? 0 : Number(payload.getBigUint64(4))
  else content.left = (content.left ?? 0) - payload.byteLength
  return content.left <= 0
}

/** Tags are in order, for they are given in order. 0 stands for all. */
function upTo(tags: ReadonlySet<bigint>, tag: bigint): readonly bigint[] {
  const found: bigint[] = []
  for (const one of tags) {
    if (tag !== 0n && one > tag) break
    found.push(one)
  }
  return found
}

/** Reads a connection to an AMQP 0-9-1 broker. Loaded by the proxy's process through `amqpWire`. */
export function createReader(options: unknown): WireReader {
  return new AmqpReader((options ?? {}) as AmqpWireOptions)
}
