// A clause is data: an id that is for ever, one sentence, what it needs, and the code that proves it.

import type { Capabilities } from '@posthorn/core/adapter'
import type { Durability } from './harness.ts'
import type { Trial } from './trial.ts'

/**
 * `memory`: nothing but the harness, members in this process. `process`: members or brokers as processes of their own.
 * `network`: a link that carries bytes. `language`: clients in other languages. `long`: the extended tier.
 */
export type Need = 'memory' | 'process' | 'network' | 'language' | 'long'

/** Which branch a manifest asks for. There is no third state but saying why a thing cannot be shown here. */
export type Branch = 'run' | 'other' | { readonly notProven: string }

/** One property, and the code that proves it. */
export interface Clause {
  /** For ever: it stands in test names, comments, reports and the changelog. */
  readonly id: string
  /** The property, as on the page. */
  readonly title: string
  readonly needs: Need
  /** @default always 'run' */
  readonly gate?: ((capabilities: Capabilities, profile: Durability) => Branch) | undefined
  /** Active during every clause: what it finds is reported under this id. Its own `run` is only a workload. */
  readonly standing?: boolean | undefined
  /** Missing where the clause needs more than there is yet: printed as not proven. */
  readonly run?: ((t: Trial) => Promise<void>) | undefined
  /** What the other value of the capability changes. */
  readonly other?: ((t: Trial) => Promise<void>) | undefined
  /** Real time that the clause may take, in milliseconds. @default 20_000 on a simulated broker, 240_000 on a real one */
  readonly withinMs?: number | undefined
}

/** A gate on one word of the manifest: `when('delay', 'native')`. */
export function when<K extends Exclude<keyof Capabilities, 'limits'>>(
  capability: K,
  word: Capabilities[K],
): (capabilities: Capabilities) => Branch {
  return (capabilities) => (capabilities[capability] === word ? 'run' : 'other')
}
