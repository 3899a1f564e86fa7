import { monotonic, processorMs, sleep } from '../clock.ts'
import type { ComparedBroker, Connection, Place } from '../compare/client.ts'
import { type Usage, usageOf, usedBetween } from '../compare/server-usage.ts'
import type { Measured, Task } from '../compare/task.ts'
import { keys } from '../messages.ts'

/** What a measurement works with. */
export interface Stage {
  readonly connection: Connection
  readonly place: Place
  readonly broker: ComparedBroker
  readonly task: Task
}

/** A run in which nothing moved for so long is over, whatever is missing. */
export const stallMs = 15_000

/** Keys that there are in a task. */
export const lanesOf = (task: Task): number => (task.kind === 'slow' ? task.lanes : keys)

/** What passed since the watch was started, on the clock and in processor time of client and server. */
export interface Watch {
  stop(): Taken
}
/** What a measurement took. */
export type Taken = Pick<Measured, 'wallMs' | 'processorMs' | 'rssBytes' | 'server'>

/** Starts a watch. */
export function startWatch({ serverPid }: Pick<Task, 'serverPid'>): Watch {
  const server = usageOf(serverPid)
  const processor = processorMs()
  const since = monotonic()
  return {
    stop() {
      const wallMs = monotonic() - since
      const took = processorMs() - processor
      const used: Usage | undefined = usedBetween(server, usageOf(serverPid))
      // The kernel's figure is in KiB.
      const rssBytes = process.resourceUsage().maxRSS * 1024
      return { wallMs, processorMs: took, rssBytes, ...(used === undefined ? {} : { server: used }) }
    },
  }
}

/** What the server has left for the groups. What a closing client gives back, or has just acknowledged, may take it a moment. */
export async function unsettledOn({ broker, place }: Stage): Promise<number> {
  let left = await broker.unsettled(place)
  for (let look = 0; left > 0 && look < 20; look++) {
    await sleep(100)
    left = await broker.unsettled(place)
  }
  return left
}

/** Throws away what came before, so that a measurement does not pay for it. */
export function collectGarbage(): void {
  ;(globalThis as { gc?: () => void }).gc?.()
}
