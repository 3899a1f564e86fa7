import type { Chart, Row, Settings } from '../scenario.ts'
import type { Client, ComparedBroker, Tier } from './client.ts'
import { inProcess } from './in-process.ts'
import type { GivenServer } from './servers.ts'
import type { Outcome, Task, Work } from './task.ts'

/** One table of the report on real servers: the same work by each client of each broker. */
export interface Comparison {
  /** What `--only` takes. */
  readonly name: string
  readonly title: string
  /** How it is measured, in a line or two. */
  readonly method: string
  readonly charts: readonly Chart[]
  /** The comparison whose runs it reads, if it has none of its own. */
  readonly runsOf?: string
  /** What is run on one server. */
  cells(server: Server, settings: Settings): readonly Cell[]
  /** What came of one case on one server. */
  rows(results: Results): readonly Row[]
}

/** A server to measure on. */
export interface Server {
  readonly broker: ComparedBroker
  readonly given: GivenServer
}

/** One run of one client, again in every pass. Plain data but for `run`. */
export interface Cell {
  readonly comparison: string
  /** What distinguishes it from other cells of its comparison, besides broker and client: `1 KB`. */
  readonly case: string
  readonly broker: string
  readonly client: string
  /** About so many seconds: for the time left, until it is known better. */
  readonly seconds: number
  run(): Promise<Outcome>
}

/** What the runs of one case on one broker gave. */
export interface Results {
  readonly case: string
  readonly about: About
  /** By client, in each pass; undefined: it was left out of that one. */
  readonly runs: ReadonlyMap<string, readonly (Outcome | undefined)[]>
}

/** What the report says about a broker and its clients. Plain data. */
export interface About {
  readonly broker: string
  readonly server: string
  readonly tier: Tier
  readonly clients: Readonly<Record<string, Pick<Client, 'promise' | 'how'>>>
}

/** A case in which every client does its work in a process of its own. */
export interface Case {
  readonly name: string
  readonly seconds: number
  /** undefined: this client sits out. */
  work(client: Client): Work | undefined
  readonly keyed?: boolean
}

/** The cells of such cases. */
export function cellsOf(comparison: string, { broker, given }: Server, settings: Settings, cases: readonly Case[]): Cell[] {
  return cases.flatMap(({ name, seconds, work, keyed }) =>
    broker.clients
      .filter((client) => settings.clients.includes(client.name))
      .flatMap((client): Cell[] => {
        const asked = work(client)
        if (asked === undefined) return []
        const task: Omit<Task, 'serverPid'> = {
          broker: broker.name,
          client: client.name,
          url: given.url,
          keyed: keyed ?? settings.keyed,
          ...asked,
        }
        const run = (): Promise<Outcome> => inProcess({ ...task, serverPid: given.pid() } as Task, settings.profile)
        return [{ comparison, case: name, broker: broker.name, client: client.name, seconds, run }]
      }),
  )
}
