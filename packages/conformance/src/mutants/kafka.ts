import type { Mutant } from './mutant.ts'

/** Bugs of the Kafka adapter, planted in it and noticed on a real server. */
export const kafka: readonly Mutant[] = [
  {
    id: 'MUT-30',
    where: 'kafka',
    file: 'assignment.ts',
    find: 'if (this.#over) return answeredStale',
    replace: "if (this.#over) return Promise.resolve('settled' as const)",
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'K17' },
    what: 'commits a partition after its revoke',
  },
  {
    id: 'MUT-115',
    where: 'kafka',
    file: 'offsets.ts',
    find: 'if (before.size === count) return { created: false, completed: false }',
    replace: 'if (before.size < 0) return { created: false, completed: false }',
    also: [
      { file: 'offsets.ts', find: 'if (had.size === count) return { wanted: new Map(), had: count }', replace: '' },
      {
        file: 'offsets.ts',
        find: 'const lacking = [...starts].filter(([partition]) => !had.has(partition))',
        replace: 'const lacking = [...starts]',
      },
    ],
    killedBy: ['INT-10'],
    what: 'an existing group is placed by `startFrom`',
  },
  {
    id: 'MUT-126',
    where: 'kafka',
    file: 'publish.ts',
    find: 'if (result !== undefined && result.errorCode === 0 && result.offset >= 0) {',
    replace: 'if (result === undefined) continue\n        if (result.errorCode === 0 && result.offset >= 0) {',
    killedBy: [],
    killedByTest: { file: 'test/publish.test.ts', name: 'KAF-10' },
    what: 'a reply without an entry counts as stored',
  },
  {
    id: 'MUT-127',
    where: 'kafka',
    file: 'subscribe.ts',
    find: 'if (source.atomic) await Promise.all(list.map((partition) => fence(at, partition)))',
    replace: '',
    also: [
      {
        file: 'subscribe.ts',
        find: 'const oldest = list.every((partition) => committed.has(partition))',
        replace:
          'if (source.atomic) await Promise.all(list.map((partition) => fence(at, partition)))\n      const oldest = list.every((partition) => committed.has(partition))',
      },
    ],
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'KAF-12' },
    what: 'position read before the fence',
  },
  {
    id: 'MUT-135',
    where: 'kafka',
    file: 'member.ts',
    find: "name: 'RoundRobinAssigner'",
    replace: "name: 'PosthornAssigner'",
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'KAF-11' },
    what: "group protocol named unlike the plain client's",
  },
  {
    id: 'MUT-140',
    where: 'kafka',
    file: 'assignment.ts',
    find: 'await this.#host.flush().catch(() => {})',
    replace: '',
    also: [
      { file: 'commits.ts', find: 'const spacingMs = 50', replace: 'const spacingMs = 1000' },
      { file: 'subscribe.ts', find: 'await Promise.race([commits?.flush(), cluster.pause(1000)])', replace: 'await Promise.resolve()' },
    ],
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'K7' },
    what: 'commits at the end of a batch only',
  },
]
