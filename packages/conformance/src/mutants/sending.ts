import type { Mutant } from './mutant.ts'

/** Bugs on the way out: outcomes, repeats, order, batches, encoding, delays. */
export const sending: readonly Mutant[] = [
  {
    id: 'MUT-11',
    where: 'core',
    file: 'murmur2.ts',
    find: 'const seed = 0x9747b28c',
    replace: 'const seed = 0x1234567',
    killedBy: ['INT-5', 'ORD-9'],
    what: 'own hash instead of the published one',
  },
  {
    id: 'MUT-13',
    where: 'core',
    file: 'outcome.ts',
    find: `entry.mayBeStored || entry.flight !== null ? 'unknown' : 'failed'`,
    replace: `'failed'`,
    killedBy: ['PUB-4'],
    what: 'timeout reported as failed',
  },
  {
    id: 'MUT-20',
    where: 'core',
    file: 'send-engine.ts',
    find: 'microtask.then(pump)',
    replace: 'clock.timer(400, pump)',
    killedBy: ['PUB-16'],
    what: 'batches debounced instead of sent at once',
  },
  {
    id: 'MUT-21',
    where: 'core',
    file: 'produce.ts',
    find: 'if (tally.open >= maxBuffered) return',
    replace: 'if (tally.open < 0) return',
    killedBy: ['PUB-10', 'PUB-18'],
    what: 'send buffer without bound',
  },
  {
    id: 'MUT-40',
    where: 'core',
    file: 'conclude.ts',
    find: 'content: { ...content, id: entry.id, transport },',
    replace: 'content: { ...content, id: context.newId(), transport },',
    killedBy: ['ERR-11', 'FID-7'],
    what: 'retry copy gets a new id',
  },
  {
    id: 'MUT-62',
    where: 'core',
    file: 'produce.ts',
    find: 'if (context.closing.aborted) return Promise.reject(closedError(attempted))\n    if (tally.open',
    replace: `if (context.closing.aborted) return Promise.resolve({ id: 'lost', position: null })\n    if (tally.open`,
    killedBy: ['LIFE-7'],
    what: 'send after close resolves',
  },
  {
    id: 'MUT-79',
    where: 'core',
    file: 'conclude.ts',
    find: `delete transport['ph-due']`,
    replace: `delete transport['traceparent']\n    delete transport['ph-due']`,
    killedBy: ['TRC-3', 'ERR-11'],
    what: 'traceparent lost on retry',
  },
  {
    id: 'MUT-105',
    where: 'core',
    file: 'send-lane.ts',
    find: 'this.ordered = partition !== null',
    replace: 'this.ordered = false',
    killedBy: ['ORD-10'],
    what: 'a publish leaves while an earlier one of its partition is open',
  },
  {
    id: 'MUT-106',
    where: 'core',
    file: 'send-engine.ts',
    find: 'unknown ? entry.request.retryUnknown :',
    replace: 'unknown ? false :',
    killedBy: ['PUB-17'],
    what: 'an unknown is given up at once',
  },
  {
    id: 'MUT-112',
    where: 'core',
    file: 'read-back.ts',
    find: 'return always || !done.has(topic)',
    replace: 'return always && !done.has(topic)',
    killedBy: ['FID-12'],
    what: 'the first message is not read back',
  },
  {
    id: 'MUT-113',
    where: 'core',
    file: 'prepare.ts',
    find: 'if (value === null) return null',
    replace: 'if (value === null) return new Uint8Array(0)',
    killedBy: ['FID-13'],
    what: 'null body written as empty',
  },
  {
    id: 'MUT-124',
    where: 'core',
    file: 'assignment-runner.ts',
    find: 'const cancel = clock.timer(ms, () => {\n        waiting--',
    replace: `const due = clock.now() + ms
      const byTheWall = (run: () => void): (() => void) => {
        let stop = (): void => {}
        const look = (): void => {
          if (clock.now() >= due) run()
          else stop = clock.timer(20, look)
        }
        stop = clock.timer(20, look)
        return () => stop()
      }
      const cancel = byTheWall(() => {
        waiting--`,
    killedBy: ['DLY-9'],
    what: 'backoff follows the wall clock',
  },
  {
    id: 'MUT-125',
    where: 'core',
    file: 'forwarder-lane.ts',
    find: `each.state = 'done'\n      remember(each)`,
    replace: `if (hop.kind === 'due') {
        const request = { partition: null, due: 0, slot: null, deadline: clock.monotonic() + sendWithinMs, retryUnknown: true, attempted: '', copy: true }
        await sender.send({ ...request, place: main, content: { ...content, transport: withoutHop(content.transport) } })
      }
      each.state = 'done'
      remember(each)`,
    killedBy: ['DLY-10'],
    profile: 'kafka',
    what: 'each group runs its own delay forwarder: a delayed message enters its topic once for each',
  },
]
