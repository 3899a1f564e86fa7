// What the parts of a session share.

import type { AdapterContext, TopicPlan } from '@posthorn/core/adapter'
import type { Link } from './link.ts'
import type { Settings } from './options.ts'
import type { Waiter } from './waiter.ts'

/** The connections of everybody who consumes: one for the scripts of owners, one that waits. */
export interface OwnerLinks {
  readonly link: Link
  readonly waiter: Waiter
}

/** Something that lives on the owner's connection. */
export interface Tenant {
  up(): void
  down(): void
  /** Drops everything at once. */
  end(): void
}

/** The session, as its parts see it. */
export interface Core {
  readonly context: AdapterContext
  readonly settings: Settings
  readonly main: Link
  readonly plans: ReadonlyMap<string, TopicPlan>
  readonly closed: boolean
  /** Partitions of a topic as this session declared it; undefined: it did not. */
  partitionsOf(topic: string): number | undefined
  /** Opens the connections of consumers, once. */
  owner(): Promise<OwnerLinks>
  enter(tenant: Tenant): void
  leave(tenant: Tenant): void
  /** The topic or a group is gone from the server: makes it again, groups from the oldest message. True: something was made. */
  declareAgain(topic: string): Promise<boolean>
  /** A name for a member of this process: never the same twice. */
  member(topic: string, group: string): string
}
