import { comparedBrokers } from './brokers.ts'
import type { Server } from './contest.ts'

/** A server that `tools/bench.mjs` started or was given. */
export interface GivenServer {
  readonly url: string
  /** `Redis 7.0.15`. */
  readonly title: string
  readonly profile: string
  readonly source: string
}

/** Where the servers are: JSON, by name of the broker. */
export const serversVariable = 'POSTHORN_BENCH_SERVERS'

/** The server of this name, and what the report says about it; throws with a sentence for people. */
export function serverOf(name: string, environment: string | undefined): { readonly server: Server; readonly given: GivenServer } {
  const broker = comparedBrokers.find((each) => each.name === name)
  const given = (JSON.parse(environment ?? '{}') as Readonly<Record<string, GivenServer>>)[name]
  if (broker === undefined || given === undefined) throw new Error(`there is no server for "${name}": npm run bench -- ${name} starts one`)
  return { server: { broker, url: given.url }, given }
}
