import { invalid, milliseconds, show } from './check.ts'
import type { Clock } from './contract.ts'
import { MessagingError } from './errors.ts'
import type { MemoryServer } from './memory/faults.ts'
import type { Journal } from './test-journal.ts'

/** What a test can let fail: the connection, the server, or this process as a member of its groups. */
export type Fault = 'link' | 'server' | 'member'

const defaultMs: Readonly<Record<Fault, number>> = { link: 1_000, server: 1_000, member: 900_000 }

/** Plays faults on the embedded server of a test broker; null: a real server, on which none can be played. */
export function createFaults(
  server: MemoryServer | null,
  clock: Clock,
  journal: Pick<Journal, 'instances'>,
): { readonly open: boolean; fail(what: Fault, forMs?: number): void } {
  let open = 0

  return {
    get open() {
      return open > 0
    },
    fail(what, forMs) {
      const attempted = `cannot let ${show(what)} fail`
      if (server === null) {
        throw new MessagingError(
          'UNSUPPORTED',
          `${attempted}: faults are played on the embedded broker, and BROKER_URL names a real one. skip this test there`,
        )
      }
      if (!Object.hasOwn(defaultMs, what)) throw invalid(attempted, 'known are "link", "server", "member"')
      const problem = forMs === undefined ? undefined : milliseconds(forMs)
      if (problem !== undefined) throw invalid(attempted, `"forMs" must be ${problem}, not ${show(forMs)}`)
      const links = journal.instances.map((instance) => server.link(instance))
      if (what === 'server') server.signal('SIGKILL')
      else {
        for (const link of links) {
          if (what === 'member') link.freeze()
          else {
            link.refuse(true)
            link.cut()
          }
        }
      }
      open += 1
      clock.timer(forMs ?? defaultMs[what], () => {
        open -= 1
        if (what === 'server') server.start()
        else for (const link of links) link[what === 'member' ? 'thaw' : 'heal']()
      })
    },
  }
}
