// MQTT: answers carry the packet id of what they answer, so what is withheld vanishes alone. What a packet asks for is told by its
// topic: the adapter's own are published names.

import type { Operation } from '../harness.ts'
import { filterOf, idOf, kinds, type MqttPacket, MqttScanner, publishOf, versionOf } from './mqtt-frames.ts'
import type { Frame, WireReader } from './wire.ts'

/** How the topics of an adapter are to be understood. */
export interface MqttWireOptions {
  /** What lies under this name is the adapter's own. @default 'posthorn' */
  readonly root?: string
}

type Withholds = (operation: Operation) => boolean

const silent = (bytes: Uint8Array): Frame => ({ bytes, operation: undefined, requests: 0 })

class MqttReader implements WireReader {
  readonly ordered = false
  readonly #root: string
  readonly #fromClient = new MqttScanner()
  readonly #fromServer = new MqttScanner()
  readonly #published = new Map<number, Operation>()
  readonly #subscribed = new Map<number, Operation | undefined>()
  /** What the round trips are for, in order. */
  readonly #pings: Operation[] = []
  #version = 4
  /** An answer to a round trip vanished: those that follow cannot be told from it, so they vanish too. */
  #deaf = false
  /** The next round trip tells whether what was settled has arrived. */
  #settling = false

  constructor(options: MqttWireOptions) {
    this.#root = `${options.root ?? 'posthorn'}/`
  }

  up(chunk: Uint8Array): readonly Frame[] {
    return this.#fromClient.add(chunk).map((packet) => this.#request(packet))
  }

  down(chunk: Uint8Array, withholds: Withholds): readonly Frame[] {
    return this.#fromServer.add(chunk).map((packet) => this.#answer(packet, withholds))
  }

  #request(packet: MqttPacket): Frame {
    const { bytes, kind } = packet
    switch (kind) {
      case kinds.connect:
        this.#version = versionOf(packet)
        return { bytes, operation: 'connect', requests: 1 }
      case kinds.publish: {
        const { topic, id, payload } = publishOf(packet, this.#version)
        const operation = this.#publishing(topic, payload)
        if (id === 0) {
          if (operation === 'settle') this.#settling = true
          return { bytes, operation, requests: 0 }
        }
        this.#published.set(id, operation)
        return { bytes, operation, requests: 1 }
      }
      case kinds.puback:
        return { bytes, operation: 'settle', requests: 0 }
      case kinds.subscribe: {
        const operation = this.#subscribing(filterOf(packet, this.#version))
        this.#subscribed.set(idOf(packet), operation)
        return { bytes, operation, requests: operation === undefined ? 0 : 1 }
      }
      case kinds.pingreq: {
        const operation: Operation = this.#settling ? 'settle' : 'renew'
        this.#settling = false
        this.#pings.push(operation)
        return { bytes, operation, requests: 1 }
      }
      case kinds.disconnect:
        return { bytes, operation: 'leave', requests: 0 }
      default:
        return silent(bytes)
    }
  }

  #publishing(topic: string, payload: Uint8Array): Operation {
    if (!topic.startsWith(this.#root)) return 'publish'
    const folder = topic.slice(this.#root.length).split('/')[0]
    if (folder === 'topic' || folder === 'group') return 'declare'
    if (folder === 'member') return 'renew'
    if (folder === 'echo') return echoed(payload)
    if (payload.length > 0) return 'publish'
    return folder === 'dead' ? 'remove' : 'settle'
  }

  #subscribing(filter: string): Operation | undefined {
    if (filter.startsWith('$')) return undefined
    if (!filter.startsWith(this.#root)) return 'subscribe'
    const folder = filter.slice(this.#root.length).split('/')[0]
    if (folder === 'topic' || folder === 'group') return 'declare'
    if (folder === 'member') return 'inspect'
    return folder === 'dead' ? 'browse' : 'subscribe'
  }

  #answer(packet: MqttPacket, withholds: Withholds): Frame {
    const { bytes, kind } = packet
    const answered = (operation: Operation | undefined): Frame =>
      operation === undefined
        ? silent(bytes)
        : withholds(operation)
          ? { bytes, operation, requests: 0, lost: 1 }
          : { bytes, operation, requests: 1 }
    switch (kind) {
      case kinds.connack:
        return answered('connect')
      case kinds.puback: {
        const id = idOf(packet)
        const operation = this.#published.get(id)
        this.#published.delete(id)
        return answered(operation)
      }
      case kinds.suback: {
        const id = idOf(packet)
        const operation = this.#subscribed.get(id)
        this.#subscribed.delete(id)
        return answered(operation)
      }
      case kinds.pingresp: {
        if (this.#deaf) return { bytes, operation: 'renew', requests: 0, lost: 0 }
        const frame = answered(this.#pings.shift())
        this.#deaf = frame.lost !== undefined
        return frame
      }
      case kinds.publish: {
        const { topic, payload } = publishOf(packet, this.#version)
        const own = topic.startsWith(this.#root)
        if (own && !topic.startsWith(`${this.#root}echo/`)) return silent(bytes)
        // What a connection says to itself is an answer, to a question of another connection.
        const operation = own ? echoed(payload) : 'read'
        return { bytes, operation, requests: 0, lost: withholds(operation) ? (own ? 0 : 1) : undefined }
      }
      default:
        return silent(bytes)
    }
  }
}

/** What an echo is for: its last letter says it. */
const echoed = (payload: Uint8Array): Operation => (payload[payload.length - 1] === 's'.charCodeAt(0) ? 'settle' : 'renew')

/** Reads a connection to an MQTT server. Loaded by the proxy's process through `mqttWire`. */
export function createReader(options: unknown): WireReader {
  return new MqttReader((options ?? {}) as MqttWireOptions)
}
