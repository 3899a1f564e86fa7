import type { Mutant } from './mutant.ts'

/** Bugs in settling, lanes, retries and dead letters. */
export const settling: readonly Mutant[] = [
  {
    id: 'MUT-02', where: 'core', file: 'attempt.ts',
    find: 'else if (threw) conclusions.failed(entry, error)',
    replace: 'else if (threw) conclusions.done(entry)',
    killedBy: ['ERR-1', 'ERR-14'],
    what: 'settles when the handler throws',
  },
  {
    id: 'MUT-07', where: 'core', file: 'key-lanes.ts',
    find: "      tail.behind = entry\n      return false",
    replace: '      tail.behind = null\n      return true',
    killedBy: ['ORD-2', 'ORD-3'],
    what: 'key lanes are not exclusive: two handlers of one key',
  },
  {
    id: 'MUT-34', where: 'core', file: 'conclude.ts',
    find: 'if (entry.failures >= plan.attempts) {',
    replace: 'if (entry.failures >= plan.attempts && plan.attempts > 1e9) {',
    killedBy: ['ERR-6'],
    what: 'no attempt limit',
  },
  {
    id: 'MUT-35', where: 'core', file: 'conclude.ts',
    find: 'if (entry.failures >= plan.attempts) {',
    replace: 'if (entry.failures >= plan.attempts - 1) {',
    killedBy: ['ERR-6', 'ERR-1'],
    what: 'dead-lettered one attempt too early',
  },
  {
    id: 'MUT-36', where: 'core', file: 'conclude.ts',
    find: '          runner.waitFor(entry, ms, () => deadLetter(entry, reason, error, tries + 1))',
    replace: '          void ms\n          runner.finish(entry)',
    killedBy: ['ERR-8'],
    what: 'a dead-letter failure is swallowed, the source settled',
  },
  {
    id: 'MUT-42', where: 'core', file: 'conclude.ts',
    find: 'again(entry, afterMs ?? backoff(plan, entry.failures, random))',
    replace: 'again(entry, afterMs ?? 0)',
    killedBy: ['ERR-3'],
    what: 'backoff of 0',
  },
  {
    id: 'MUT-43', where: 'core', file: 'conclude.ts',
    find: 'again(entry, afterMs ?? backoff(plan, entry.failures, random))',
    replace: 'again(entry, afterMs ?? backoff(plan, entry.failures, random) * 1000)',
    killedBy: ['ERR-3'],
    what: 'backoff in seconds',
  },
  {
    id: 'MUT-99', where: 'core', file: 'conclude.ts',
    find: '        else again(entry, decision.afterMs)',
    replace: '        else failed(entry, decision)',
    killedBy: ['ACK-16'],
    what: 'postpone counts an attempt',
  },
  {
    id: 'MUT-103', where: 'core', file: 'conclude.ts',
    find: 'const parkable = runner.topic.key === undefined || plan.unordered',
    replace: 'const parkable = true',
    killedBy: ['ORD-3'],
    what: 'a keyed message is parked',
  },
]
