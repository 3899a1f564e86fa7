// What the parts of a session share.

import type { AdapterContext } from '../contract.ts'
import type { Connection } from './link.ts'
import type { EmbeddedServer } from './server.ts'
import type { Subscription } from './subscribe.ts'

export interface SessionCore {
  readonly server: EmbeddedServer
  readonly context: AdapterContext
  closed(): boolean
  /** The open connection, or null while the link is away. */
  connection(): Connection | null
  /** Waits for a connection. Rejects with CANCELLED when `signal` is aborted, with CLOSED when the session closes. */
  ready(signal: AbortSignal): Promise<Connection>
  /** This connection does not answer: drop it and connect again. */
  broken(connection: Connection): void
  /** Like the clock's, but it stands still while the client's process does. */
  timer(ms: number, run: () => void): () => void
  remember(subscription: Subscription): void
  forget(subscription: Subscription): void
  /** Counts a request that is not answered at once, so that silence is noticed while it is open. */
  open<T>(request: Promise<T>): Promise<T>
  /** Makes again what this session declared of a topic. False: nothing was missing, or it declared nothing. */
  declareAgain(connection: Connection, topic: string, group: string | null): Promise<boolean>
}
