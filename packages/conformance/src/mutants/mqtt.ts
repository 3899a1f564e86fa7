import type { Mutant } from './mutant.ts'

const played = 'test/ownership.test.ts'
const traps = 'test/live/traps.test.ts'

/** Bugs of the MQTT adapter, planted in it and noticed by the simulation of its protocol or on a real server. */
export const mqtt: readonly Mutant[] = [
  {
    id: 'MUT-18',
    where: 'mqtt',
    file: 'wire.ts',
    find: '      each?.(null)\n',
    replace: '',
    killedBy: [],
    killedByTest: { file: traps, name: 'M10' },
    what: 'lost reply leaves the promise open',
  },
  {
    id: 'MUT-89',
    where: 'mqtt',
    file: 'partition.ts',
    find: 'aliveUntil: () => Math.min((prover?.proof ?? sentAt) + settings.lifeMs, host.aliveUntil)',
    replace: 'aliveUntil: () => clock.monotonic() + settings.lifeMs + host.aliveUntil * 0',
    killedBy: ['RBL-13'],
    what: '`aliveUntil` moved on by a timer, not by an answered proof',
  },
  {
    id: 'MUT-94',
    where: 'mqtt',
    file: 'ownership.ts',
    find: 'if (leaving || alone || (stable && !mine.has(slot.name) && !otherHolds(slot))) {',
    replace: 'if (leaving || alone) {',
    killedBy: [],
    killedByTest: { file: 'test/live/sharing.test.ts', name: 'RBL-15' },
    what: 'the first member keeps every partition',
  },
  {
    id: 'MUT-109',
    where: 'mqtt',
    file: 'topology.ts',
    find: 'const held = new Set([...members.values()].flat())',
    replace: 'const held = new Set<string>()',
    killedBy: [],
    killedByTest: { file: traps, name: 'M30' },
    what: "declaring connects under a held partition's identity",
  },
  {
    id: 'MUT-133',
    where: 'mqtt',
    file: 'ownership.ts',
    find: 'state.notBefore = now + rules.coolMs * (1 + rules.random())\n    state.losses = [...state.losses.filter((at) => now - at < rules.fenceWindowMs), now]\n    changed()',
    replace: 'state.notBefore = now\n    state.losses = [...state.losses.filter((at) => now - at < rules.fenceWindowMs), now]',
    killedBy: [],
    killedByTest: { file: played, name: 'a slot that was lost' },
    what: 'a closed partition session reconnects at once',
  },
  {
    id: 'MUT-134',
    where: 'mqtt',
    file: 'ownership.ts',
    find: '      if (member.until > now) continue\n',
    replace: '      if (member.until > now - 1e9) continue\n',
    killedBy: [],
    killedByTest: { file: played, name: 'whatever happens' },
    what: 'presence believed without its age',
  },
  {
    id: 'MUT-137',
    where: 'mqtt',
    file: 'dead.ts',
    find: '    page.push(packet)\n',
    replace: '    page.push(packet)\n    void core.main.wire?.store(topic, nothing, { retain: true })\n',
    killedBy: ['DLQ-1'],
    what: 'listing takes dead letters out',
  },
]
