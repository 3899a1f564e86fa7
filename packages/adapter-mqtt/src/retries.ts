// A group's due retries: retained messages, handed out by whoever holds the first partition, and cleared when they are settled.

import type { Delivery, SettleResult, Source } from '@posthorn/core/adapter'
import { Owned } from './assignment.ts'
import type { Core } from './core.ts'
import { decode } from './decode.ts'
import { explain, refusal } from './explain.ts'
import { folder, retryId } from './layout.ts'
import type { Host } from './membership.ts'
import { createWaitingList, type Waiting } from './waiting.ts'
import { openWire, type Wire } from './wire.ts'

/** What a group's retries are read by. */
export interface Retries {
  readonly owned: Owned
  /** A sign of life is due. */
  probe(): void
  end(): void
  /** Gone without a word. */
  readonly ended: boolean
}

const nothing = Buffer.alloc(0)
const mostAtOnce = 500

/** Connects, and begins the assignment of the group's retries. `closed` is called when its connection ends by itself. */
export async function holdRetries(
  core: Core,
  source: Source,
  group: string,
  options: { readonly host: Host; readonly aliveUntil: () => number; readonly released: () => void; readonly closed: () => void },
  signal: AbortSignal,
): Promise<Retries> {
  const { context, settings } = core
  const { clock } = context
  const { topic } = source
  const place = { topic, role: 'retry' as const, group }
  let ended = false
  let held = 0
  let wire: Wire | null = null

  const owned = new Owned(topic, 'retry', null, {
    maxBuffered: Math.max(1, source.maxUnsettled),
    maxBytes: source.maxBytes,
    soon: (run) => void clock.timer(0, run),
    aliveUntil: options.aliveUntil,
    room: serve,
    settle,
    release,
    over: () => {},
  })

  const list = createWaitingList(clock, serve, async (name) => {
    // Its own subscription brings it again; the folder's goes on.
    await wire?.subscribe([{ topic: name, retained: true }])
    await wire?.unsubscribe([name])
  })

  wire = await openWire(
    {
      settings,
      clock,
      clientId: retryId(topic, group),
      clean: true,
      expirySeconds: 0,
      receiveMaximum: 1000,
      acknowledge: 'at-once',
      onMessage(packet) {
        list.put(packet)
        return true
      },
      onEnd() {
        if (ended) return
        stop()
        owned.end()
        options.closed()
      },
    },
    signal,
  )
  try {
    await wire.subscribe([{ topic: `${folder(place)}/#`, retained: true }])
  } catch (error) {
    wire.destroy()
    throw error
  }

  function serve(): void {
    if (ended || owned.ended) return
    for (const one of list.take(Math.min(mostAtOnce, source.maxUnsettled - held))) {
      const { packet } = one
      if (packet === null) continue
      held++
      owned.push({ bytes: packet.payload.length + 64, deliver: () => deliveryOf(one) })
    }
  }

  function deliveryOf(one: Waiting): Delivery {
    const content = one.packet === null ? { undecodable: 'it is gone', body: null, headers: null } : decode(one.packet)
    return { token: one, content, parked: true, deliveries: null, position: () => null }
  }

  async function settle(tokens: readonly unknown[]): Promise<SettleResult> {
    const done = tokens as readonly Waiting[]
    if (wire === null || !wire.open) return 'stale'
    held -= done.length
    const on = wire
    let reasons: readonly number[]
    try {
      reasons = await Promise.all(done.map((one) => on.store(one.topic, nothing, { retain: true })))
    } catch {
      on.destroy()
      return 'unknown'
    }
    const bad = reasons.find((reason) => reason >= 0x80)
    if (bad !== undefined) {
      // It is still there, and comes again: by the next owner, since what follows must not be settled before it.
      const error = refusal(`cannot clear a retry of "${topic}"`, bad)
      on.destroy()
      if (!explain(error).retryable) options.host.refused(error)
      return 'unknown'
    }
    for (const one of done) list.drop(one)
    serve()
    return 'settled'
  }

  async function release(): Promise<void> {
    if (ended) return
    stop()
    await wire?.close()
    options.released()
  }

  function stop(): void {
    ended = true
    list.stop()
  }

  let askedAt: number | null = null
  return {
    owned,
    probe() {
      if (ended || wire === null) return
      const now = clock.monotonic()
      if (askedAt !== null) {
        if (now - askedAt > settings.lifeMs) wire.destroy()
        return
      }
      askedAt = now
      const answered = (): void => {
        askedAt = null
      }
      wire.ping().then(answered, answered)
    },
    get ended() {
      return ended
    },
    end() {
      if (ended) return
      stop()
      owned.end()
      wire?.destroy()
    },
  }
}
