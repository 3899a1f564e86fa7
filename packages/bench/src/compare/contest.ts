import type { Settings } from '../scenario.ts'
import type { ClientName, ComparedBroker } from './client.ts'
import { inProcess } from './in-process.ts'
import type { Measured, Outcome, Task } from './task.ts'

/** A server to measure on. */
export interface Server {
  readonly broker: ComparedBroker
  readonly url: string
}

/** The runs of one client: one entry per run, in which all clients took part. */
export type Runs = ReadonlyMap<ClientName, readonly Outcome[]>

/**
 * Lets the clients take turns, each in a process of its own, and each turn begin with another one: what the machine does
 * meanwhile meets all of them. Calls `run` with the task of a client; a client without one sits out.
 */
export async function contest(
  { broker, url }: Server,
  settings: Settings,
  taskOf: (client: ClientName, common: Pick<Task, 'broker' | 'client' | 'url' | 'keyed'>) => Task | undefined,
): Promise<Runs> {
  const names = (['naive', 'tuned', 'posthorn'] as const).filter((name) => settings.clients.includes(name))
  const runs = new Map<ClientName, Outcome[]>(names.map((name) => [name, []]))
  for (let run = 0; run < settings.runs; run++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(run + turn) % names.length] ?? 'tuned'
      const task = taskOf(name, { broker: broker.name, client: name, url, keyed: settings.keyed })
      if (task === undefined) continue
      const outcome = await inProcess(task, settings.profile)
      runs.get(name)?.push(outcome)
      for (const note of outcome.notes) settings.say(`${broker.name}, ${name}: ${note}`)
    }
  }
  return runs
}

/** One measurement of all runs of a client. */
export const measuredOf = (runs: Runs, client: ClientName, measurement: string): readonly Measured[] =>
  (runs.get(client) ?? []).map(({ measured }) => measured[measurement]).filter((each) => each !== undefined)
