import type { Mutant } from './mutant.ts'

/** Bugs of dead letters, `once` and what handlers forward. */
export const copies: readonly Mutant[] = [
  {
    id: 'MUT-37',
    where: 'core',
    file: 'conclude.ts',
    find: `const { clock, telemetry, random, sender } = context`,
    replace: `const { clock, telemetry, random, sender: direct } = context
  const sender = {
    ...direct,
    async send(request: Parameters<typeof direct.send>[0]) {
      if (request.place.role === 'dead') await new Promise<void>((go) => void clock.timer(5, go))
      return direct.send(request)
    },
  }`,
    also: [
      {
        file: 'conclude.ts',
        find: `const undecodable = entry.delivery.content`,
        replace: 'runner.finish(entry)\n    const undecodable = entry.delivery.content',
      },
    ],
    killedBy: ['ERR-7'],
    what: 'source settled before the dead letter is confirmed',
  },
  {
    id: 'MUT-38',
    where: 'core',
    file: 'dead-letter-entry.ts',
    find: `if (message.key !== null) transport['ph-key'] = message.key`,
    replace: '',
    also: [{ file: 'dead-letter-entry.ts', find: 'attributes: message.attributes,', replace: 'attributes: noAttributes,' }],
    killedBy: ['ERR-6', 'DLQ-2'],
    what: 'dead letter without key and origin',
  },
  {
    id: 'MUT-80',
    where: 'core',
    file: 'once-store.ts',
    find: 'try {\n        await work(undefined)',
    replace: 'done.set(key, clock.monotonic() + windowMs)\n      try {\n        await work(undefined)',
    killedBy: ['ONCE-2'],
    what: '`once` record written before the effect',
  },
  {
    id: 'MUT-81',
    where: 'core',
    file: 'once-store.ts',
    find: '} finally {\n        working.delete(key)',
    replace:
      '} catch (error) {\n        done.set(key, clock.monotonic() + windowMs)\n        throw error\n      } finally {\n        working.delete(key)',
    killedBy: ['ONCE-5'],
    what: 'record kept when the handler throws',
  },
  {
    id: 'MUT-82',
    where: 'core',
    file: 'attempt.ts',
    find: 'else if (threw) conclusions.failed(entry, error)',
    replace: `else if (threw) {
      if (message.outputs !== undefined) outputs.send(entry, message).catch(() => {})
      conclusions.failed(entry, error)
    }`,
    killedBy: ['ONCE-9'],
    what: 'outputs sent although the handler throws',
  },
  {
    id: 'MUT-83',
    where: 'core',
    file: 'dead-letter-tools.ts',
    find: 'place: retry,',
    replace: `place: { topic: topic.name, role: 'main', group: null },`,
    killedBy: ['DLQ-3'],
    what: 'replay publishes to the topic, all groups get it',
  },
  {
    id: 'MUT-84',
    where: 'core',
    file: 'dead-letter-tools.ts',
    find: 'const results = await Promise.allSettled(',
    replace: 'await remove(attempted, entries, removals.signal)\n          const results = await Promise.allSettled(',
    killedBy: ['DLQ-5'],
    what: 'replay removes before the publish is confirmed',
  },
  {
    id: 'MUT-116',
    where: 'core',
    file: 'forward-id.ts',
    find: 'parts.id, parts.group, parts.target',
    replace: 'parts.id, parts.target',
    killedBy: ['ONCE-11'],
    what: 'forwarded id without the group',
  },
  {
    id: 'MUT-117',
    where: 'core',
    file: 'forward-id.ts',
    find: ', String(parts.ordinal)])',
    replace: '])',
    killedBy: ['ONCE-11'],
    what: 'forwarded id without the ordinal among equals',
  },
  {
    id: 'MUT-118',
    where: 'core',
    file: 'once-store.ts',
    find: '[message.group, message.topic, message.source ?? null, message.id]',
    replace: '[message.group, message.id]',
    killedBy: ['ONCE-12'],
    what: '`once` keyed by group and id only',
  },
  {
    id: 'MUT-119',
    where: 'core',
    file: 'attempt.ts',
    find: `if (decision !== undefined && decision['~decision'] !== 'drop')`,
    replace: `if (decision !== undefined && decision['~decision'] !== 'drop' && decision['~decision'] !== 'dead-letter')`,
    killedBy: ['ONCE-13'],
    what: 'dead-lettering keeps the `once` record',
  },
  {
    id: 'MUT-120',
    where: 'core',
    file: 'dead-letter-tools.ts',
    find: `const next = 'say which`,
    replace: `if (choice === undefined) return () => true\n  const next = 'say which`,
    killedBy: ['DLQ-11'],
    what: 'nothing chosen means all',
  },
]
