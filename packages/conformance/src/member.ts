// A member of a group whose process can die. What it does is a script, and a script is plain data: on a simulated broker it is
// played here, on a real one a child process is started by path with the same script.

import type { ConsumeOptions, Consumer, OnceStore, ProducerOptions } from '@posthorn/core'
import type { Link } from './harness.ts'
import type { OrderTopic } from './orders.ts'
import type { Recorder } from './recorder.ts'
import type { Calls, Gate } from './trial.ts'

/** What a member does: plain data, so that it can be started in another process. */
export interface Script {
  /** Missing: it only produces. */
  readonly topic?: OrderTopic | readonly OrderTopic[]
  /** @default 'workers' */
  readonly group?: string
  /** @default 'one' */
  readonly mode?: 'one' | 'batch'
  /** Over section 2's defaults. Plain data: no functions, stores or signals. */
  readonly options?: Partial<Omit<ConsumeOptions, 'middleware' | 'once' | 'signal' | 'group'>> & {
    readonly max?: number
    readonly waitMs?: number
  }
  /** The first act whose `when` fits a message is played; none: done at once. */
  readonly acts?: readonly Act[]
  /** A store that outlives the process, as a database does. A member in another process reaches it by a conversation with the suite. */
  readonly once?: OnceStore<unknown>
  /** Messages that it sends, one after the other or all at once. Outcomes are in `t.sends`. */
  readonly produce?: {
    readonly topic: OrderTopic
    readonly count: number
    readonly everyMs?: number
    readonly keys?: number
    readonly options?: ProducerOptions
  }
  /** The process ends here, by itself: exactly between two steps. */
  readonly dieAt?: FaultPoint
  /** Where its starts are counted, beside `member.starts`. */
  readonly recorder?: Recorder
  readonly jitter?: 'full' | 'free'
}

/** What its handler does with the messages that fit. */
export interface Act {
  readonly when?: {
    readonly ids?: readonly string[]
    readonly keys?: readonly (string | null)[]
    readonly seqs?: readonly number[]
    /** Up to this attempt. */
    readonly attempts?: number
    /** Only the first so many starts that fit. */
    readonly first?: number
  }
  /** The handler takes this long, in milliseconds; two numbers: between them, from the seed. */
  readonly holdMs?: number | readonly [number, number]
  /** The handler waits for this gate. */
  readonly gate?: Gate
  /** Forwards the order to this topic. */
  readonly forward?: OrderTopic
  /** How it ends. @default 'done' */
  readonly then?:
    | 'done'
    | 'throw'
    | 'never'
    /** The handler ends its own process. */
    | 'exit'
    | { readonly retry: number }
    | { readonly postpone: number }
    | { readonly deadLetter: string }
    | { readonly drop: string }
}

/** Where a process ends by itself: at a call that it makes at the contract. */
export interface FaultPoint {
  readonly operation: 'publish' | 'settle'
  /** Of publishes: to which place. @default any */
  readonly role?: 'main' | 'delay' | 'retry' | 'dead'
  /** `before`: it never leaves. `after`: the server did it, the process never learns. */
  readonly when: 'before' | 'after'
  /** @default 1: the first one */
  readonly nth?: number
}

/** A running member: what the suite can do to it, and what it counts. */
export interface Member {
  /** For reports: `m1`. */
  readonly name: string
  /** Its random identity, as the auditor's `owners` show it. */
  readonly instance: string
  readonly alive: boolean
  readonly frozen: boolean
  /** Handlers that run in it. */
  readonly running: number
  /** Handler starts so far, repeats included. */
  readonly starts: number
  readonly link: Link
  readonly calls: Calls
  /** The consumer itself; only on a simulated broker. */
  readonly consumer: Consumer | undefined
  /** Ends the process at once, as SIGKILL does. */
  kill(): void
  /** Stops the process, as SIGSTOP does: its timers do not fire and nothing goes in or out, while time goes on. */
  freeze(): void
  /** Lets it go on, as SIGCONT does: first its timers, then what the network kept for it. */
  thaw(): void
  cut(): void
  /** Closes politely, as SIGTERM does. */
  close(options?: { readonly drainMs?: number | undefined }): Promise<void>
  /** Resolves when the process has ended: killed, or by itself. */
  readonly died: Promise<void>
}
