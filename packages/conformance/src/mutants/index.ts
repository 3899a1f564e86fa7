import { commandLine } from './command-line.ts'
import { copies } from './copies.ts'
import { embedded } from './embedded.ts'
import { kafka } from './kafka.ts'
import { mqtt } from './mqtt.ts'
import type { Mutant } from './mutant.ts'
import { rabbitmq } from './rabbitmq.ts'
import { receiving } from './receiving.ts'
import { redis } from './redis.ts'
import { sending } from './sending.ts'
import { settling } from './settling.ts'
import { starting } from './starting.ts'
import { suite } from './suite.ts'
import { surroundings } from './surroundings.ts'

export { needServers } from './servers.ts'

/** Bugs of real adapters that are planted; the same bug may be planted in several. */
export const serverMutants: readonly Mutant[] = [...redis, ...rabbitmq, ...kafka, ...mqtt, ...surroundings]

const number = (id: string): number => (id.startsWith('MUT-') ? Number(id.slice(4)) : 1000)

/** Every planted bug, in the order of the page; the suite's own last. */
export const allMutants: readonly Mutant[] = [
  ...settling,
  ...sending,
  ...receiving,
  ...starting,
  ...copies,
  ...embedded,
  ...commandLine,
  ...suite,
].sort((a, b) => number(a.id) - number(b.id))
