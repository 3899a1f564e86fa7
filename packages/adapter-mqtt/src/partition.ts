// A partition that is held: the connection to its session, the assignment that core reads, and for the first partition the group's
// due retries beside it.

import type { Delivery, Received, SettleResult, Source, Undecodable } from '@posthorn/core/adapter'
import type { IPublishPacket } from 'mqtt'
import { type Arrived, Owned } from './assignment.ts'
import type { Core } from './core.ts'
import { endedWithin } from './deadline.ts'
import { decode, packetBytes } from './decode.ts'
import type { Prover } from './echoes.ts'
import { fault } from './explain.ts'
import { partitionTopic, plainTopic, sessionId } from './layout.ts'
import type { Holding, Host } from './membership.ts'
import { forever, openWire, type Wire } from './wire.ts'

class Handed implements Delivery {
  readonly token: number
  readonly content: Received | Undecodable
  readonly parked = false
  readonly deliveries = null

  constructor(packetId: number, content: Received | Undecodable) {
    this.token = packetId
    this.content = content
  }

  position(): null {
    return null
  }
}

class Came implements Arrived {
  readonly #packet: IPublishPacket
  readonly bytes: number
  readonly #ours: boolean

  constructor(packet: IPublishPacket, ours: boolean) {
    this.#packet = packet
    this.bytes = packetBytes(packet)
    this.#ours = ours
  }

  deliver(): Delivery {
    const content = decode(this.#packet)
    return new Handed(this.#packet.messageId ?? 0, this.#ours || 'undecodable' in content ? content : strayed(this.#packet))
  }
}

// Somebody subscribed our session to something else. It is set aside and seen: left alone it would fill the window for ever.
const strayed = ({ topic, payload }: IPublishPacket): Undecodable => ({
  undecodable: `it came from the topic "${topic}", to which somebody else subscribed the session of this partition`,
  body: typeof payload === 'string' ? Buffer.from(payload) : payload,
  headers: null,
})

/** The filters of a partition's session. Those of one session never overlap. */
export const filtersOf = (topic: string, partition: number): readonly { readonly topic: string; readonly retained: false }[] =>
  [partitionTopic(topic, partition), ...(partition === 0 ? [plainTopic(topic)] : [])].map((each) => ({ topic: each, retained: false }))

/** A server that forgets sessions sooner than it is told would lose a group's messages silently. */
export function checkSession(wire: Wire): void {
  const { grantedSeconds } = wire
  if (grantedSeconds !== null && grantedSeconds < forever)
    throw fault(
      'UNSUPPORTED',
      `mqtt: the server keeps a session for ${grantedSeconds} s at most: after so long without a consumer it drops what a group has not handled. ` +
        'let its sessions not expire (Mosquitto: no persistent_client_expiration; EMQX: mqtt.session_expiry_interval; HiveMQ: mqtt.session-expiry.max-interval)',
      'failed',
    )
}

/** What a partition needs of its subscription. */
export interface PartitionOptions {
  readonly core: Core
  readonly source: Source
  readonly group: string
  readonly partition: number
  readonly host: Host
  /** Core is to have it. */
  yield(owned: Owned): void
  /** True: core has not seen it. */
  withdraw(owned: Owned): boolean
}

/** Connects to a partition's session and begins its assignment. */
export async function holdPartition(options: PartitionOptions, signal: AbortSignal): Promise<Holding> {
  const { core, source, group, partition, host } = options
  const { context, settings } = core
  const { clock } = context
  const { topic } = source
  const sentAt = clock.monotonic()
  const ours = new Set(filtersOf(topic, partition).map((each) => each.topic))
  let ended = false
  /** Messages in hand, by packet id: some servers send one again on the same connection. */
  const out = new Uint8Array(65_536)
  let prover: Prover | null = null
  let cancelForce: (() => void) | null = null

  const owned = new Owned(topic, 'main', partition, {
    maxBuffered: Math.max(1, source.maxUnsettled),
    maxBytes: source.maxBytes,
    soon: (run) => void clock.timer(0, run),
    aliveUntil: () => Math.min((prover?.proof ?? sentAt) + settings.lifeMs, host.aliveUntil),
    room: () => wire?.resume(),
    settle,
    release,
    over() {
      cancelForce?.()
    },
  })

  let wire: Wire | null = null
  wire = await openWire(
    {
      settings,
      clock,
      clientId: sessionId(topic, group, partition),
      clean: false,
      expirySeconds: forever,
      receiveMaximum: Math.min(65_535, Math.max(1, source.maxUnsettled)),
      acknowledge: 'later',
      onMessage(packet) {
        const id = packet.qos === 0 ? 0 : (packet.messageId ?? 0)
        if (out[id] === 1) return true
        if (id !== 0) out[id] = 1
        // The answer to the subscription comes behind what is stored.
        return owned.push(new Came(packet, ours.has(packet.topic))) || prover === null
      },
      onEnd: end,
    },
    signal,
  )
  try {
    checkSession(wire)
    // Also where there is a session: whoever made it may have been cut off before it had subscribed.
    await wire.subscribe(filtersOf(topic, partition))
  } catch (error) {
    wire.destroy()
    throw error
  }
  if (!wire.open) throw fault('UNAVAILABLE', 'mqtt: the connection was lost', 'none')
  if (!wire.sessionPresent) core.sessionLost(topic, group)
  prover = host.echoes.prover(wire, sentAt)
  options.yield(owned)

  async function settle(tokens: readonly unknown[]): Promise<SettleResult> {
    const ids = tokens as readonly number[]
    if (wire === null || prover === null || !wire.open) return 'stale'
    for (const id of ids) out[id] = 0
    wire.acknowledge(ids.filter((id) => id !== 0))
    return (await prover.confirm()) ? 'settled' : 'unknown'
  }

  async function release(): Promise<void> {
    if (ended || wire === null) return
    await endedWithin(clock, settings.keepAliveMs, prover?.confirm())
    ended = true
    prover?.stop()
    await wire.close()
    host.released()
  }

  function end(_error: Error): void {
    if (ended) return
    ended = true
    prover?.stop()
    options.withdraw(owned)
    owned.end()
    if (!signal.aborted)
      context.event('lease-lost', {
        topic,
        group,
        partition,
        note: 'the connection of the partition ended: somebody else has it, or the way to the server is cut',
      })
    host.closed()
  }

  return {
    leave() {
      if (options.withdraw(owned)) return void owned.release()
      owned.leave()
      cancelForce ??= clock.timer(Math.min(source.handOverMs, 600_000) + 1000, () => void owned.release())
    },
    end() {
      if (ended) return
      ended = true
      prover?.stop()
      options.withdraw(owned)
      owned.end()
      wire?.destroy()
    },
    probe() {
      if (ended || prover === null || wire === null) return
      const now = clock.monotonic()
      // Nobody answers for longer than the server would wait for us: the next owner may have begun.
      if (now > owned.aliveUntil + settings.viewMs || (prover.askedAt !== null && now - prover.askedAt > settings.lifeMs)) {
        wire.destroy()
        return
      }
      prover.beat()
    },
  }
}
