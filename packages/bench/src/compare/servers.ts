/** A server that `tools/bench.mjs` started or was given. */
export interface GivenServer {
  readonly url: string
  /** `Redis 7.0.15`. */
  readonly title: string
  readonly source: string
  /** The number of its process group now; undefined where it runs elsewhere. */
  pid(): number | undefined
  /** Ends it with this signal and starts it again on its data; undefined: it is not ours to end. */
  readonly restart: ((signal: 'SIGKILL' | 'SIGTERM') => Promise<void>) | undefined
  /** The command line of one of the server's own programs; empty where there is none. */
  command(tool: string): readonly string[]
}

/** Starts a server with these lines in its configuration; undefined where none can be had, which it says itself. */
export type StartServer = (name: string, settings: readonly string[]) => Promise<GivenServer | undefined>
