// What the parts of a session share.

import type { AdapterContext } from '@posthorn/core/adapter'
import type { Link } from './link.ts'
import type { Settings } from './options.ts'
import type { Records } from './records.ts'

/** Something that lives in the session until it ends. */
export interface Tenant {
  /** Ends it, and resolves when its connections are closed. `now`: without a word. Twice is fine, and the second one may be in a hurry. */
  end(now: boolean): Promise<void> | void
}

/** The session, as its parts see it. */
export interface Core {
  readonly context: AdapterContext
  readonly settings: Settings
  /** For everything that is sent and looked at. */
  readonly main: Link
  /** All that come back by themselves. */
  readonly links: Set<Link>
  readonly records: Records
  readonly closed: boolean
  enter(tenant: Tenant): void
  leave(tenant: Tenant): void
  /** A name for a member of this process: never the same twice. */
  member(): string
  /** The server did not have a session any more: the group is completed, and then it is told. */
  sessionLost(topic: string, group: string): void
  /** A connection other than the main one is there, or is away. */
  state(name: string, up: boolean, error?: unknown): void
}
