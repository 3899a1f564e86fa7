// The ownership protocol under races: many seeds, each another order of the same few troubles.

import { expect, it } from 'vitest'
import { createOwnership, type Slot } from '../src/ownership.ts'
import { createWorld, SimMember, type World } from './simulation/model.ts'

const seeds = Number(process.env['SEEDS'] ?? 150)
const partitions = 4
const slots: readonly Slot[] = Array.from({ length: partitions }, (_, at) => ({ name: String(at), group: 'g', at }))

function generator(seed: number): () => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0
  return () => {
    state = (state ^ (state << 13)) >>> 0
    state = (state ^ (state >>> 17)) >>> 0
    state = (state ^ (state << 5)) >>> 0
    return state / 4_294_967_296
  }
}

function runFor(world: World, ms: number): void {
  const until = world.clock.monotonic() + ms
  for (let due = world.clock.nextDue(); due !== null && due <= until; due = world.clock.nextDue()) world.clock.step()
}

const member = (world: World, nth: number): SimMember =>
  new SimMember(world, `m${nth}-${Math.floor(world.random() * 1e9).toString(36)}`, 'g', slots)

function feed(world: World, everyMs: number, forMs: number): void {
  for (let at = 0; at < forMs; at += everyMs)
    world.clock.timer(at, () => world.server.publish(String(Math.floor(world.random() * partitions))))
}

const owners = (world: World): readonly string[][] =>
  slots.map(({ name }) => [...world.members].filter((each) => each.slots.includes(name)).map(({ id }) => id))

function everythingOwned(world: World, what: string): void {
  for (const [at, found] of owners(world).entries()) expect(found, `${what}: owners of partition ${at}`).toHaveLength(1)
}

function everyMessageStarted(world: World, what: string): void {
  const started = new Set(world.starts.map(({ message }) => message))
  expect(started.size, `${what}: messages that were started`).toBe(world.server.published)
  for (const { queue } of world.server.sessions.values()) expect(queue, `${what}: messages left`).toEqual([])
}

it('a slot that was lost is left alone until everybody heard of it and a while has passed', () => {
  const coolMs = 400
  const rules = {
    viewMs: 400,
    coolMs,
    presenceMs: 6000,
    willMs: 2000,
    fenceLosses: 3,
    fenceWindowMs: 60_000,
    fenceMs: 30_000,
    random: () => 0,
  }
  const machine = createOwnership(rules, { id: 'me', group: 'g', topic: 'orders' }, slots.slice(0, 1))
  const heard = (now: number): void => machine.seen('g', 'me', machine.presence, Number.POSITIVE_INFINITY, now)
  machine.control(true, 0)
  expect(machine.decide(0).publish).toBe(true)
  heard(0)
  expect(machine.decide(400).claim).toEqual(['0'])
  machine.opened('0', 500)
  expect(machine.decide(500).publish).toBe(true)
  heard(500)
  machine.closed('0', 1000)
  // Not while the others may still believe that it is held here.
  expect(machine.decide(1000)).toMatchObject({ claim: [], publish: true })
  expect(machine.decide(1000 + coolMs * 3).claim).toEqual([])
  heard(1000)
  expect(machine.decide(1000)).toMatchObject({ claim: [], wakeAt: 1000 + coolMs })
  expect(machine.decide(1000 + coolMs).claim).toEqual(['0'])
})

it('members that start together own every partition once, after at most one takeover of each', () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const world = createWorld(generator(seed), slots)
    const count = 2 + (seed % 4)
    for (let nth = 0; nth < count; nth++) world.clock.timer(world.random() * 600, () => void member(world, nth))
    runFor(world, 8000)
    everythingOwned(world, `seed ${seed}`)
    expect(world.server.takeovers, `seed ${seed}: takeovers`).toBeLessThanOrEqual(partitions)
    const before = world.server.connects
    runFor(world, 20_000)
    expect(world.server.connects, `seed ${seed}: connections made afterwards`).toBe(before)
    expect(world.problems, `seed ${seed}`).toEqual([])
  }
}, 120_000)

it('a member that joins where everybody holds one partition takes none', () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const world = createWorld(generator(seed), slots)
    for (let nth = 0; nth < partitions; nth++) member(world, nth)
    runFor(world, 8000)
    const before = owners(world)
    const { connects } = world.server
    const late = member(world, partitions)
    runFor(world, 8000)
    expect(owners(world), `seed ${seed}`).toEqual(before)
    expect(late.slots, `seed ${seed}`).toEqual([])
    expect(world.server.connects, `seed ${seed}: connections made, of which one is its own`).toBe(connects + 1)
  }
}, 120_000)

it('members that come and go politely start every message once', () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const world = createWorld(generator(seed), slots)
    feed(world, 25, 15_000)
    const all = [member(world, 0)]
    for (let nth = 1; nth < 5; nth++) world.clock.timer(1000 + world.random() * 8000, () => void all.push(member(world, nth)))
    world.clock.timer(6000 + world.random() * 6000, () => all[0]?.leave())
    world.clock.timer(9000 + world.random() * 5000, () => all[1]?.leave())
    runFor(world, 25_000)
    everythingOwned(world, `seed ${seed}`)
    everyMessageStarted(world, `seed ${seed}`)
    expect(world.starts.length, `seed ${seed}: starts`).toBe(world.server.published)
    expect(world.problems, `seed ${seed}`).toEqual([])
  }
}, 120_000)

it('whatever happens to members and server, nobody starts what another one may start, and everything is owned in the end', () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const world = createWorld(generator(seed), slots)
    const { random, server, clock } = world
    feed(world, 40, 30_000)
    for (let nth = 0; nth < 3; nth++) member(world, nth)
    const any = (): SimMember | undefined => [...world.members][Math.floor(random() * world.members.size)]
    let made = 3
    const faults: readonly (() => void)[] = [
      () => any()?.freeze(500 + random() * 9000),
      () => any()?.silence(500 + random() * 9000),
      () => any()?.cut('control'),
      () => any()?.cut('slots'),
      () => server.restart(300 + random() * 3000),
      () => void member(world, made++),
      () => any()?.leave(),
      () => {
        any()?.kill()
        clock.timer(random() * 3000, () => void member(world, made++))
      },
    ]
    for (let nth = 0; nth < 8; nth++) clock.timer(3000 + random() * 24_000, () => faults[Math.floor(random() * faults.length)]?.())
    runFor(world, 32_000)
    if (world.members.size === 0) member(world, made++)
    runFor(world, 45_000)
    everythingOwned(world, `seed ${seed}`)
    everyMessageStarted(world, `seed ${seed}`)
    const before = server.connects
    runFor(world, 20_000)
    expect(server.connects, `seed ${seed}: connections made when all is quiet again`).toBe(before)
    expect(world.problems, `seed ${seed}`).toEqual([])
  }
}, 120_000)
