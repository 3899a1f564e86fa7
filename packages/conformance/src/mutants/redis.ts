import type { Mutant } from './mutant.ts'

/** Bugs of the Redis adapter, planted in it and noticed on a real server. */
export const redis: readonly Mutant[] = [
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
    find: 'pauseMs(++tries, random)',
    replace: 'pauseMs(++tries, random) * 0 + 5',
    killedBy: ['NET-14'],
    what: 'reconnects without pause',
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
