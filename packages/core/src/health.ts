import type { Health, Status } from './broker.ts'
import type { ConsumerHandle } from './consumer-handle.ts'

/** The consumers of one broker object: who lives, who died and was not replaced. */
export interface Roll {
  add(handle: ConsumerHandle): void
  remove(handle: ConsumerHandle): void
  /** What the handle consumes as which group, so that a new consumer of the same takes the place of a dead one. */
  name(handle: ConsumerHandle, name: string): void
  readonly living: ReadonlySet<ConsumerHandle>
  /** Never throws. */
  health(status: Status): Health
}

export function createRoll(): Roll {
  const living = new Set<ConsumerHandle>()
  const dead = new Map<string, string>()
  const names = new WeakMap<ConsumerHandle, string>()
  return {
    living,
    add(handle) {
      living.add(handle)
    },
    remove(handle) {
      const name = names.get(handle) ?? ''
      if (living.delete(handle) && handle.consumer.state === 'failed') dead.set(name, handle.problems()[0] ?? 'a consumer failed')
    },
    name(handle, name) {
      names.set(handle, name)
      dead.delete(name)
    },
    health(status) {
      const reasons: string[] = []
      if (status !== 'connected') reasons.push(status === 'recovering' ? 'the connection is recovering' : `the broker is ${status}`)
      for (const handle of living) {
        try {
          reasons.push(...handle.problems())
        } catch {
          reasons.push('a consumer cannot say how it is')
        }
      }
      reasons.push(...dead.values())
      return Object.freeze({
        live: status !== 'failed' && status !== 'closed',
        ready: reasons.length === 0,
        reasons: Object.freeze(reasons),
      })
    },
  }
}
