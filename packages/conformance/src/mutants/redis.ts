import type { Mutant } from './mutant.ts'

/** Bugs of the Redis adapter, planted in it and noticed on a real server. */
export const redis: readonly Mutant[] = [
  {
    id: 'MUT-17',
    where: 'redis',
    file: 'publish.ts',
    find: 'if (core.main.client === null && !(await core.main.ready(signal)))',
    replace: `const waits = core.main.client === null
  if (waits) await core.main.ready(signal)
  if (waits)`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps-connection.test.ts', name: 'PUB-18' },
    what: 'send queue dropped on reconnect',
  },
  {
    id: 'MUT-18',
    where: 'redis',
    file: 'link.ts',
    find: 'const clean = cleaned(error)',
    replace: `if (client !== current) return new Promise(() => {})
        const clean = cleaned(error)`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps-connection.test.ts', name: 'PUB-9' },
    what: 'lost reply leaves the promise open',
  },
  {
    id: 'MUT-19',
    where: 'redis',
    file: 'publish.ts',
    find: "return fail(explain(error).outcome === 'failed' ? 'failed' : 'unknown', error)",
    replace: `if (explain(error).outcome === 'failed' || !(await core.main.ready(new AbortController().signal))) return fail('failed', error)
    const again = batch.map((message) => ({ ...message, id: \`\${message.id}-again\` }))
    return storePart(core, again, { ...part, streams: [] }, failures)`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps-connection.test.ts', name: 'PUB-17' },
    what: 'client repeats a send by itself with a new id',
  },
  {
    id: 'MUT-26',
    where: 'redis',
    file: 'assignment.ts',
    find: 'const ids = tokens as readonly string[]',
    replace: `const all = [...this.#out]
    const ids = all.slice(0, all.indexOf(String(tokens.at(-1))) + 1)`,
    killedBy: ['ACK-5'],
    what: 'settles everything up to the finished one',
  },
  {
    id: 'MUT-51',
    where: 'redis',
    file: 'scripts-store.ts',
    find: "local found=redis.call('ZRANGEBYSCORE',z,'-inf',now,'LIMIT',0,100)",
    replace: `local found=ARGV
if #ARGV==0 then
  found=redis.call('ZRANGEBYSCORE',z,'-inf',now,'LIMIT',0,100)
  if #found>0 then redis.call('ZREM',z,unpack(found)) return found end
end`,
    also: [
      {
        file: 'tend.ts',
        find: "links.link.run(scripts.promote, [keyOf(topic, 'meta')], []).then(",
        replace: `const run = (ids: readonly string[]): Promise<unknown> => links.link.run(scripts.promote, [keyOf(topic, 'meta')], ids)
    run([]).then((taken) => (Array.isArray(taken) ? run(taken.map(String)) : taken)).then(`,
      },
    ],
    killedBy: [],
    killedByTest: { file: 'test/live/traps-entries.test.ts', name: 'RDS-5' },
    what: 'lane or delay store settled before the copy is confirmed',
  },
  {
    id: 'MUT-54',
    where: 'redis',
    file: 'assignment.ts',
    find: 'this.#held += some.length',
    replace: `this.#held += some.length
    this.#host.timer(500, () => {
      if (this.#waiting === null) this.#host.stale()
    })`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps-owners.test.ts', name: 'FLOW-4' },
    what: 'pause leaves the group',
  },
  {
    id: 'MUT-56',
    where: 'redis',
    file: 'assignment.ts',
    find: 'this.#held += some.length',
    replace: `this.#held += some.length
    this.#host.timer(1000, () => {
      for (const each of some) this.#out.delete(each.token)
      this.resync()
    })`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps-owners.test.ts', name: 'RDS-4' },
    what: 'lease counted from hand-over, buffered messages reclaimed',
  },
  {
    id: 'MUT-64',
    where: 'redis',
    file: 'session.ts',
    find: "context.report('recovering', error)",
    replace: "if (role === 'main') context.report('recovering', error)",
    killedBy: [],
    killedByTest: { file: 'test/live/traps-connection.test.ts', name: 'LIFE-14' },
    what: 'status stays `connected` while the consumer is dead',
  },
  {
    id: 'MUT-65',
    where: 'redis',
    file: 'subscribe.ts',
    find: `up() {
      step()
      for (const row of rows.values()) for (const owned of row.owned) owned.resync()
    },`,
    replace: 'up() {},',
    killedBy: ['NET-1', 'NET-11'],
    what: 'subscription not made again after a reconnect',
  },
  {
    id: 'MUT-67',
    where: 'redis',
    file: 'link.ts',
    find: 'if (due !== null && due <= clock.monotonic()) drop(',
    replace: 'if (due !== null && due <= clock.monotonic() - 60_000) drop(',
    killedBy: ['NET-2'],
    what: 'no read timeout on a blocking read',
  },
  {
    id: 'MUT-69',
    where: 'redis',
    file: 'link.ts',
    find: 'pauseMs(++tries, isRefused, random)',
    replace: 'pauseMs(++tries, isRefused, random) * 0 + 5',
    killedBy: ['NET-14'],
    what: 'reconnects without pause',
  },
  {
    id: 'MUT-70',
    where: 'redis',
    file: 'assignment.ts',
    find: 'if (more) this.#after = last',
    replace: "if (more && mode !== 'history') this.#after = last",
    killedBy: [],
    killedByTest: { file: 'test/live/traps-owners.test.ts', name: 'RDS-1' },
    what: 'recovery reads the first 100 only',
  },
  {
    id: 'MUT-71',
    where: 'redis',
    file: 'scripts-own.ts',
    find: "redis.call('HDEL',KEYS[2],ARGV[1])",
    replace: `redis.call('HDEL',KEYS[2],ARGV[1])
redis.pcall('XGROUP','DELCONSUMER',KEYS[1],ARGV[3],'owner')`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps-owners.test.ts', name: 'RBL-9' },
    what: 'leaving deletes the pending list',
  },
  {
    id: 'MUT-72',
    where: 'redis',
    file: 'assignment.ts',
    find: `this.#buffer.push(new Handed(entry, entry.content,`,
    replace: `const content = mode === 'history' && !('undecodable' in entry.content) ? { ...entry.content, headers: null } : entry.content
      this.#buffer.push(new Handed(entry, content,`,
    killedBy: ['RBL-10'],
    what: 'recovered message loses headers',
  },
  {
    id: 'MUT-77',
    where: 'redis',
    file: 'encode.ts',
    find: `headers[name.startsWith(headerPrefix) ? name.slice(headerPrefix.length) : name] = textAt(buffer, at, length)`,
    replace: `const text = textAt(buffer, at, length)
        const isNumber = text !== '' && Number.isFinite(Number(text))
        headers[name.startsWith(headerPrefix) ? name.slice(headerPrefix.length) : name] = isNumber ? String(Number(text)) : text`,
    killedBy: ['FID-3'],
    what: 'header values turned into numbers',
  },
  {
    id: 'MUT-85',
    where: 'redis',
    file: 'explain.ts',
    find: `return fault(code, \`\${what}\${text`,
    replace: `return Object.assign(fault(code, \`\${what}\${text`,
    also: [{ file: 'explain.ts', find: `\${hint}\`, outcome, retryable)`, replace: `\${hint}\`, outcome, retryable), { cause: error })` }],
    killedBy: [],
    killedByTest: { file: 'test/live/traps-connection.test.ts', name: 'SEC-1' },
    what: "the client's error attached raw as `cause`",
  },
  {
    id: 'MUT-89',
    where: 'redis',
    file: 'subscribe.ts',
    find: 'aliveUntil: () => proof + settings.leaseMs - settings.marginMs',
    replace: 'aliveUntil: () => clock.monotonic() + settings.leaseMs',
    killedBy: ['RBL-13'],
    what: '`aliveUntil` moved on by a timer, not by an answered proof',
  },
  {
    id: 'MUT-94',
    where: 'redis',
    file: 'subscribe.ts',
    find: 'if (reply[at + 2] !== 1) handOver(row)',
    replace: 'if (reply[at + 2] !== 1) continue',
    killedBy: ['RBL-15'],
    what: 'the first member keeps every partition',
  },
  {
    id: 'MUT-131',
    where: 'redis',
    file: 'scripts-own.ts',
    find: `export const read: string = \`\${fence}`,
    replace: `export const read: string = \`\${clock}`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps-owners.test.ts', name: 'RDS-8' },
    what: 'reads outside the fencing script, blocking',
  },
  {
    id: 'MUT-132',
    where: 'redis',
    file: 'subscribe.ts',
    find: 'const me = core.member(topic, group)',
    replace: 'let me = core.member(topic, group)',
    also: [{ file: 'subscribe.ts', find: 'up() {\n      step()', replace: 'up() {\n      me = core.member(topic, group)\n      step()' }],
    killedBy: [],
    killedByTest: { file: 'test/live/traps-connection.test.ts', name: 'RDS-9' },
    what: 'a new identity at each reconnect',
  },
  {
    id: 'MUT-137',
    where: 'redis',
    file: 'dead.ts',
    find: '  return { entries: entries.map(deadDelivery), next:',
    replace: `  if (entries.length > 0) await remove(link, place, entries.map(deadDelivery))
  return { entries: entries.map(deadDelivery), next:`,
    killedBy: ['DLQ-1'],
    what: 'listing takes dead letters out',
  },
]
