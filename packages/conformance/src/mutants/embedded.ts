import type { Mutant } from './mutant.ts'

/** Bugs of an adapter and its server, planted into the embedded broker: storing, handing out, declaring, owning. */
export const embedded: readonly Mutant[] = [
  {
    id: 'MUT-03',
    where: 'memory',
    file: 'server.ts',
    find: 'return declared.group\n',
    replace: `return declared.group.members.length > 0 ? topic.makeBroadcast(source.group ?? '') : declared.group\n`,
    killedBy: ['GRP-1', 'GRP-4'],
    what: 'every member of a group gets every message',
  },
  {
    id: 'MUT-04',
    where: 'memory',
    file: 'cursor.ts',
    find: 'if (entry === null) marks[index] = settled',
    replace: 'if (entry === null || log.readers[at % log.readers.length] !== this) marks[index] = settled',
    killedBy: ['GRP-3', 'GRP-4'],
    what: 'only one of two groups gets a message',
  },
  {
    id: 'MUT-05',
    where: 'memory',
    file: 'group.ts',
    find: `role === 'main' ? able :`,
    replace: `role === 'main' ? able.slice(0, 1) :`,
    killedBy: ['GRP-2'],
    what: 'one member gets everything, the others starve',
  },
  {
    id: 'MUT-06',
    where: 'memory',
    file: 'cursor.ts',
    find: 'const entry = log.at(at)',
    replace: 'if (at % 100 === 7) log.swapAhead(at)\n        const entry = log.at(at)',
    also: [
      {
        file: 'log.ts',
        find: '  append(entry: Entry): void {',
        replace: `  swapAhead(offset: number): void {
    const one = this.at(offset)
    for (let at = offset + 1; at < this.end; at++) {
      const other = this.at(at)
      if (one === null || other === null || other.key !== one.key) continue
      this.#entries[offset - this.#first] = other
      this.#entries[at - this.#first] = one
      one.offset = at
      other.offset = offset
      return
    }
  }

  append(entry: Entry): void {`,
      },
    ],
    killedBy: ['ORD-1'],
    what: 'two messages of a key swapped once in 100',
  },
  {
    id: 'MUT-10',
    where: 'memory',
    file: 'log.ts',
    find: 'this.key = parts.key',
    replace: 'this.key = parts.key || null',
    killedBy: ['ORD-8', 'FID-5'],
    what: 'the empty key treated as no key',
  },
  {
    id: 'MUT-12',
    where: 'memory',
    file: 'publish.ts',
    find: '  return waitFor(core, batch, signal, request)\n}',
    replace: `  void waitFor(core, batch, signal, request)\n  return failedReport(0, 'failed', null)\n}`,
    killedBy: ['PUB-2', 'PUB-4'],
    what: 'send resolves when written, not when confirmed',
  },
  {
    id: 'MUT-14',
    where: 'memory',
    file: 'store.ts',
    find: `failures.push({ index, outcome: 'failed', error })`,
    replace: 'void error',
    killedBy: ['PUB-5'],
    what: 'negative confirm resolves',
  },
  {
    id: 'MUT-16',
    where: 'memory',
    file: 'store.ts',
    find: `if (capabilities.unroutable === 'reported') throw`,
    replace: `if (capabilities.unroutable === ('never' as string)) throw`,
    killedBy: ['PUB-6'],
    profile: 'rabbitmq',
    what: 'message to nowhere resolves and is gone',
  },
  {
    id: 'MUT-22',
    where: 'memory',
    file: 'topology.ts',
    find: 'topic.makeGroup(name, start)\n      created.push(name)',
    replace: 'void start',
    also: [
      {
        file: 'server.ts',
        find: `const declared = topic.groups.get(source.group ?? '')`,
        replace: `const declared = topic.groups.get(source.group ?? '') ?? topic.makeGroup(source.group ?? '', 'latest')`,
      },
    ],
    killedBy: ['GRP-8'],
    what: 'declaring does nothing: a group begins with its first consumer',
  },
  {
    id: 'MUT-23',
    where: 'memory',
    file: 'topology.ts',
    find: 'if (topic.groups.has(name)) continue',
    replace: 'if ((topic.groups.get(name)?.group.members.length ?? 0) > 0) continue',
    killedBy: ['GRP-10'],
    what: 'start position applied at every start',
  },
  {
    id: 'MUT-24',
    where: 'memory',
    file: 'topology.ts',
    find: 'topic.makeGroup(name, start)',
    replace: `topic.makeGroup(name, start === 'earliest' ? 'latest' : start)`,
    killedBy: ['GRP-6', 'GRP-11', 'NET-12'],
    what: 'a group without position starts at the end of the log',
  },
  {
    id: 'MUT-29',
    where: 'memory',
    file: 'assignment.ts',
    find: 'if (this.#over) return answers.stale',
    replace: 'if (this.#over) return answers[settle(this.#host.server, this.ownership, tokens, outputs)]',
    also: [
      { file: 'serve.ts', find: 'if (ownership.over || !allowed(', replace: 'if (!allowed(' },
      {
        file: 'cursor.ts',
        find: 'return this.#marks[offset - this.#base] === epoch',
        replace: 'return (this.#marks[offset - this.#base] ?? pending) > pending',
      },
    ],
    killedBy: ['ACK-4'],
    what: 'old token settled on the new connection',
  },
  {
    id: 'MUT-31',
    where: 'memory',
    file: 'cursor.ts',
    find: 'this.held -= count\n    return count',
    replace:
      'this.held -= count\n    this.#marks = []\n    this.low = this.#base = this.#scan = Math.max(this.log.start, this.low - 1)\n    return count',
    killedBy: ['ACK-3'],
    profile: 'kafka',
    what: 'settled message delivered again after a reconnect',
  },
  {
    id: 'MUT-48',
    where: 'memory',
    file: 'store.ts',
    find: 'place(hub, target, entry, message.delayMs)',
    replace: 'place(hub, target, entry, 0)',
    also: [{ file: 'store.ts', find: 'if (message.delayMs === 0) {', replace: 'if (message.delayMs >= 0) {' }],
    killedBy: ['DLY-1'],
    what: `claims delay 'native', delivers at once`,
  },
  {
    id: 'MUT-49',
    where: 'memory',
    file: 'server.ts',
    find: `this.state = 'down'`,
    replace: `this.heap.remove(() => true)\n    this.state = 'down'`,
    killedBy: ['DLY-3'],
    what: 'delay held by a timer in the process',
  },
  {
    id: 'MUT-53',
    where: 'memory',
    file: 'serve.ts',
    find: 'Math.min(max, bounds.maxUnsettled - ownership.held)',
    replace: '1_000_000',
    killedBy: ['FLOW-1'],
    what: 'unlimited prefetch',
  },
  {
    id: 'MUT-55',
    where: 'memory',
    file: 'server.ts',
    find: 'member.until = until\n',
    replace: `member.until = until
      for (const ownership of member.ownerships) {
        const aging = ownership as typeof ownership & { age?: number }
        aging.age = ownership.held > 0 ? (aging.age ?? 0) + 1 : 0
        if (aging.age < 4) continue
        aging.age = 0
        ownership.held = 0
        for (const cursor of ownership.cursors) {
          cursor.giveBack(ownership.epoch)
          cursor.arrived()
        }
      }
`,
    killedBy: ['FLOW-5'],
    what: 'second copy started when the handler outlives the lease',
  },
  {
    id: 'MUT-58',
    where: 'memory',
    file: 'group.ts',
    find: 'if (member.ownerships.size === 0) this.end(member, undefined)\n    else this.balance()',
    replace: 'for (const ownership of [...member.ownerships]) this.#close(ownership)\n    this.end(member, undefined)',
    killedBy: ['LIFE-1', 'LIFE-2'],
    what: 'held messages nacked at close',
  },
  {
    id: 'MUT-73',
    where: 'memory',
    file: 'serve.ts',
    find: 'body = slab.subarray(start, end)',
    replace: `body = slab.subarray(start, end)\n      if (entry.attributes['datacontenttype'] !== 'application/octet-stream') JSON.parse(body.toString())`,
    killedBy: ['BAD-1'],
    what: 'bad entry rejects the fetched batch',
  },
  {
    id: 'MUT-76',
    where: 'memory',
    file: 'log.ts',
    find: 'this.slab = slab\n',
    replace: 'this.slab = length === 0 ? null : slab\n',
    killedBy: ['FID-1'],
    what: 'empty body becomes null',
  },
  {
    id: 'MUT-78',
    where: 'memory',
    file: 'serve.ts',
    find: 'body = slab.subarray(start, end)',
    replace: 'body = entry.slab.subarray(entry.start, entry.start + entry.length)',
    also: [
      { file: 'serve.ts', find: 'headers: headers === null ? null : { ...headers },\n    transport', replace: 'headers,\n    transport' },
    ],
    killedBy: ['FID-10'],
    what: 'body shared between attempts',
  },
  {
    id: 'MUT-87',
    where: 'memory',
    file: 'group.ts',
    find: 'for (const ownership of member.ownerships) this.#close(ownership)',
    replace: `for (const ownership of member.ownerships) {
      if (ownership.slot !== null) (ownership.slot as Slot & { bound?: string }).bound = member.instance
      this.#close(ownership)
    }`,
    also: [
      {
        file: 'group.ts',
        find: 'if (target !== null && !target.over)',
        replace:
          'if (target !== null && !target.over && ((slot as Slot & { bound?: string }).bound ?? target.instance) === target.instance)',
      },
    ],
    killedBy: ['RBL-1', 'RBL-7'],
    what: 'an orphaned partition is adopted only by the identity that held it',
  },
  {
    id: 'MUT-91',
    where: 'memory',
    file: 'group.ts',
    find: 'owner.member.voice.leaving(owner)',
    replace:
      'owner.member.voice.leaving(owner)\n        this.#close(owner)\n        this.#grant(target, slot, slot.role, slot.partition, slot.cursors)',
    killedBy: ['RBL-14', 'RBL-5'],
    what: 'a partition moves before its release() ended',
  },
  {
    id: 'MUT-92',
    where: 'memory',
    file: 'assignment.ts',
    find: 'return answers[run()]',
    replace: 'this.#host.timer(5, () => {\n        if (!this.#over) run()\n      })\n      return answers.settled',
    killedBy: ['RBL-3'],
    what: 'release() closes without a round trip after the last settle',
  },
  {
    id: 'MUT-93',
    where: 'memory',
    file: 'assignment.ts',
    find: 'this.#lost.abort()',
    replace: 'this.#host.timer(50, () => this.#lost.abort())',
    killedBy: ['RBL-16'],
    what: '`lost` aborted only after the successor was yielded',
  },
  {
    id: 'MUT-107',
    where: 'memory',
    file: 'topology.ts',
    find: '!topic.shared && plan.partitions !== topic.main.length',
    replace: '!topic.shared && plan.partitions < 0',
    killedBy: ['GRP-16'],
    what: 'another partition count accepted',
  },
  {
    id: 'MUT-108',
    where: 'memory',
    file: 'topic.ts',
    find: `for (const cursor of main) addSlot(group, 'main'`,
    replace: `for (const cursor of main.slice(0, 1)) addSlot(group, 'main'`,
    killedBy: ['GRP-17'],
    what: 'a group counts as declared after its first partition',
  },
  {
    id: 'MUT-111',
    where: 'memory',
    file: 'store.ts',
    find: 'const limit = hub.settings.capabilities.limits.messageBytes',
    replace: 'const limit = hub.settings.capabilities.limits.messageBytes / 2',
    killedBy: ['CAP-12'],
    what: 'a limit claimed higher than it is',
  },
  {
    id: 'MUT-143',
    where: 'memory',
    file: 'serve.ts',
    find: 'if (!(token instanceof Mark) || token.entry.gone) {',
    replace: `const now = token instanceof Mark && token.entry.slot !== null ? dead?.slots.get(token.entry.slot) : undefined
    if (token instanceof Mark && now !== undefined) {
      token.log.drop(now)
      dead?.slots.delete(now.slot ?? '')
      continue
    }
    if (!(token instanceof Mark) || token.entry.gone) {`,
    killedBy: ['DLQ-12'],
    what: 'remove() takes whatever lies in the slot',
  },
]
