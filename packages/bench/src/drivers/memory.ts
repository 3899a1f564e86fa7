import { memory, memoryServer } from '@posthorn/core/testing'
import type { Driver } from '../driver.ts'

/** The embedded broker in its default profile, a fresh server per run. */
export const memoryDriver: Driver = {
  name: 'memory',
  versions: () => Promise.resolve({ broker: 'embedded, default profile' }),
  open() {
    const server = memoryServer({ capacityBytes: 4 * 1024 ** 3 })
    return Promise.resolve({
      adapter: memory({ server }),
      serverBytes: () => server.stats().bytes,
      close() {
        server.wipe()
        return Promise.resolve()
      },
    })
  },
}
