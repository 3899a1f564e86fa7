import type { Status } from './broker.ts'
import type { Adapter } from './contract.ts'
import type { MessagingError } from './errors.ts'
import type { Log } from './log.ts'
import type { Middleware } from './middleware.ts'
import type { Native } from './native.ts'

/** A URL, a URL with options of its adapter, or an adapter: `connect('redis://…')`, `connect({ url, redis: {…} })`, `connect(redis({…}))`. */
export type Target = string | ({ readonly url: string } & Native<'connect'>) | Adapter

export interface ConnectOptions {
  /** Client id, connection name, CloudEvents `source`. Several processes may share it. @default the name in the application's package.json, else 'posthorn' */
  readonly name?: string | undefined
  readonly middleware?: readonly Middleware[] | undefined
  /** Instead of warnings and errors on stderr; false: silence. */
  readonly log?: Log | false | undefined
  readonly onStatus?: ((status: Status, error?: MessagingError) => void) | undefined
  /** Milliseconds. @default 10_000 */
  readonly connectTimeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}
