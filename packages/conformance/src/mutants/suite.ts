import type { Mutant } from './mutant.ts'

/** Bugs of the suite itself: a suite that cannot see must say so on an adapter that is right. */
export const suite: readonly Mutant[] = [
  {
    id: 'SUITE-1',
    where: 'suite',
    file: 'memory.ts',
    find: 'read: async (place) => server.read(place),',
    replace: 'read: async (_place) => [],',
    killedBy: ['ERR-6', 'ORD-6'],
    what: 'the auditor returns an empty list',
  },
  {
    id: 'SUITE-2',
    where: 'suite',
    file: 'memory.ts',
    find: 'link: (instance): SimulatedLink => server.link(instance)',
    replace: `link: (instance): SimulatedLink => {
      const real = server.link(instance)
      const nothing = ['cut', 'silence', 'withhold', 'kill', 'freeze', 'delay', 'refuse']
      return new Proxy(real, {
        get(target, name) {
          if (nothing.includes(String(name))) return () => {}
          const value = Reflect.get(target, name) as unknown
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    }`,
    killedBy: ['ACK-4', 'ACK-9', 'ACK-17'],
    what: 'faults on links pass everything',
  },
  {
    id: 'SUITE-3',
    where: 'suite',
    file: 'messages.ts',
    find: 'const { awaited = false, batch = false, producer: given, ...each } = options',
    replace: 'const { awaited = false, batch = false, producer: given, ...each } = options\n  orders = orders.slice(1)',
    killedBy: ['ERR-1', 'ORD-1'],
    what: 'a message that was never sent',
  },
  {
    id: 'SUITE-4',
    where: 'suite',
    file: 'messages.ts',
    find: '() => recorders.every((recorder) => markers.every((marker) => recorder.hidden.has(marker.id))),',
    replace: '() => true,',
    killedBy: ['PUB-1', 'GRP-1'],
    what: 'a fence that proves nothing: as if it had been sent before',
  },
  {
    id: 'SUITE-5',
    where: 'suite',
    file: 'recorder.ts',
    find: 'const placed = place(starts, start)',
    replace: 'const same = byId.get(start.id)?.[0]\n    if (same !== undefined) return same\n    const placed = place(starts, start)',
    killedBy: ['ERR-1', 'ACK-10'],
    what: 'deliveries are de-duplicated before counting',
  },
]
