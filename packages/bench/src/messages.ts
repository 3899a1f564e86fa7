import { type Topic, topic, unchecked } from '@posthorn/core'
import { randomText } from './clock.ts'

/** What is sent: about as large as an order, padded to the size that is asked for. */
export interface Work {
  readonly n: number
  readonly user: string
  readonly text: string
}

const users: readonly string[] = Array.from({ length: 1000 }, (_, index) => `u${String(index).padStart(3, '0')}`)
const laneOfUser = new Map<string, number>(users.map((user, index) => [user, index]))
// Numbers begin here, so that all of them have the same length.
const first = 1_000_000

/** Keys of a run that does not say otherwise. */
export const keys: number = users.length

// Each message takes another piece of this text, so that nothing on the way gains by seeing the same bytes again.
const pool = 1 << 18
let noise = ''

/** Makes message `n`, whose JSON has `bytes` bytes, with one of `among` keys. */
export function workOf(bytes: number, among: number = keys): (n: number) => Work {
  const make = (n: number, text: string): Work => ({ n: first + n, user: users[n % among] ?? '', text })
  const length = Math.max(0, bytes - JSON.stringify(make(0, '')).length)
  if (noise === '') noise = randomText(pool)
  return (n) => {
    const from = (n * 7919) % (pool - length)
    return make(n, noise.slice(from, from + length))
  }
}

/** The number that `workOf` was given. */
export const numberOf = (work: Work): number => work.n - first

/** The number of its key. */
export const laneOf = (work: Work): number => laneOfUser.get(work.user) ?? -1

/** The topic of a run. */
export function workTopic(keyed: boolean): Topic<Work, Work, 'bench.work'> {
  return keyed
    ? topic('bench.work', { schema: unchecked<Work>(), key: (work) => work.user, groups: ['bench'] })
    : topic('bench.work', { schema: unchecked<Work>(), groups: ['bench'] })
}
