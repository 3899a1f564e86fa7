// Words of a connection that come back on the control connection. They prove that what the connection said before has reached the
// server, and that the server still took it for the owner of its session; and they are not held up by messages that are on their way
// to this connection, of which some servers send more than they were asked for.

import type { Clock } from '@posthorn/core/adapter'
import { topicBytes } from './encode.ts'
import { echoTopic } from './layout.ts'
import type { Wire } from './wire.ts'

/** What one connection has proven. */
export interface Prover {
  /** When the latest answered question was asked, monotonic. */
  readonly proof: number
  /** Since when a question waits for its answer; null: none does. */
  readonly askedAt: number | null
  /** Asks whether we are still here. */
  beat(): void
  /** Asks. Resolves with true when everything said before has surely arrived, with false when that will not be known. */
  confirm(): Promise<boolean>
  /** The connection is over. */
  stop(): void
}

export interface Echoes {
  /** The topic on which they come back: the control connection is subscribed to it. */
  readonly topic: string
  prover(wire: Wire, sentAt: number): Prover
  /** One came back. */
  heard(payload: Uint8Array): void
}

interface Waiting {
  readonly nth: number
  readonly at: number
  readonly resolve: (known: boolean) => void
}

const beatKind = 'b'
const settleKind = 's'

/** Makes the echoes of one control connection. */
export function createEchoes(clock: Clock, id: string): Echoes {
  const topic = echoTopic(id)
  const bytes = topicBytes(topic)
  const listeners = new Map<number, (kind: string, nth: number) => void>()
  let provers = 0

  return {
    topic,
    prover(wire, sentAt) {
      const number = ++provers
      let proof = sentAt
      let asked = 0
      const waiting: Record<string, Waiting[]> = { [beatKind]: [], [settleKind]: [] }
      let scheduled = false
      let over = false

      function answered(kind: string, nth: number): void {
        const list = waiting[kind]
        if (list === undefined) return
        let count = 0
        for (const each of list) {
          if (each.nth > nth) break
          if (each.at > proof) proof = each.at
          count++
          each.resolve(true)
        }
        if (count > 0) list.splice(0, count)
      }

      // It comes back on the control connection, and the connection's own round trip, which may have to wait behind messages, does too.
      function ask(kind: string, nth: number): void {
        if (over) return
        wire.post(bytes, Buffer.from(`${number}:${nth}:${kind}`))
        wire.ping().then(
          () => answered(kind, nth),
          () => {},
        )
      }

      listeners.set(number, answered)
      return {
        get proof() {
          return proof
        },
        get askedAt() {
          const beat = waiting[beatKind]?.[0]?.at
          const settle = waiting[settleKind]?.[0]?.at
          return beat === undefined ? (settle ?? null) : Math.min(beat, settle ?? beat)
        },
        beat() {
          if (over || !wire.open) return
          const nth = ++asked
          waiting[beatKind]?.push({ nth, at: clock.monotonic(), resolve: () => {} })
          ask(beatKind, nth)
        },
        confirm() {
          if (over || !wire.open) return Promise.resolve(false)
          // One question for everything of a turn.
          if (!scheduled) {
            scheduled = true
            asked++
            queueMicrotask(() => {
              scheduled = false
              ask(settleKind, asked)
            })
          }
          const nth = asked
          return new Promise((resolve) => void waiting[settleKind]?.push({ nth, at: clock.monotonic(), resolve }))
        },
        stop() {
          if (over) return
          over = true
          listeners.delete(number)
          for (const kind in waiting) for (const each of waiting[kind]?.splice(0) ?? []) each.resolve(false)
        },
      }
    },
    heard(payload) {
      const [number, nth, kind = ''] = Buffer.from(payload).toString('latin1').split(':')
      listeners.get(Number(number))?.(kind, Number(nth))
    },
  }
}
