// Whoever owns partition 0 of a group, or hears a broadcast, moves what is due into the partitions. The step is atomic, so it
// does no harm that several do it.

import type { Core, OwnerLinks } from './core.ts'
import { keyOf } from './keys.ts'
import { scripts } from './scripts.ts'

/** Looks after the delayed messages of a topic. */
export interface Tender {
  /** From now on this member does it, or does not. */
  owns(mine: boolean): void
  stop(): void
}

let tenders = 0

/** Makes a tender that does nothing yet. `parked` is called when something was delayed or parked by anybody. */
export function tend(core: Core, links: OwnerLinks, topic: string, parked: () => void): Tender {
  const { clock } = core.context
  const { leaseMs } = core.settings
  const bell = keyOf(topic, 'due')
  const id = `${++tenders}`
  let active = false
  let looking = false
  let again = false
  let cancel: (() => void) | null = null

  function look(): void {
    if (!active) return
    if (looking) {
      again = true
      return
    }
    cancel?.()
    cancel = null
    looking = true
    links.link.run(scripts.promote, [keyOf(topic, 'meta')], []).then(
      (wait) => {
        looking = false
        later(Number(wait) < 0 ? leaseMs / 4 : Number(wait))
      },
      () => {
        looking = false
        later(leaseMs / 4)
      },
    )
  }
  function later(ms: number): void {
    if (!active) return
    if (again) {
      again = false
      look()
    } else cancel = clock.timer(Math.min(Math.max(0, ms), leaseMs / 4), look)
  }

  return {
    owns(mine) {
      if (mine === active) return
      active = mine
      if (mine) {
        links.waiter.listen(bell, id, () => {
          look()
          parked()
        })
        look()
      } else {
        cancel?.()
        cancel = null
        links.waiter.forget(bell, id)
      }
    },
    stop() {
      this.owns(false)
    },
  }
}
