// What the answers of a server mean, and what their absence does, on a server that answers as the test wants it.

import { afterEach, expect, it } from 'vitest'
import type { Core } from '../src/core.ts'
import { createPublish } from '../src/publish.ts'
import { openWire, type Wire, type WireOptions } from '../src/wire.ts'
import { type Answer, clock, coreOf, type Heard, never, nothingKnown, order, type Scripted, scripted } from './scripted.ts'

const servers: Scripted[] = []
const wires: Wire[] = []

afterEach(async () => {
  for (const each of wires.splice(0)) each.destroy()
  await Promise.all(servers.splice(0).map((each) => each.close()))
})

async function serve(answer?: (heard: Heard) => Answer): Promise<Scripted> {
  const one = await scripted(answer)
  servers.push(one)
  return one
}

async function dial(server: Scripted, over: Partial<WireOptions> = {}, signal = never): Promise<Wire> {
  const wire = await openWire(
    {
      settings: server.settings,
      clock,
      clientId: 'unit',
      clean: true,
      expirySeconds: 0,
      receiveMaximum: 10,
      acknowledge: 'at-once',
      onMessage: () => true,
      onEnd: () => {},
      ...over,
    },
    signal,
  )
  wires.push(wire)
  return wire
}

const published = (server: Scripted): readonly string[] => server.heard.filter(({ kind }) => kind === 'publish').map(({ topic }) => topic)

it('a publish that waited for the link does not overtake the making of the groups', async () => {
  const server = await serve()
  let wire: Wire | null = null
  let healing: Promise<void> | null = null
  let back = (_there: boolean): void => {}
  let healed = (): void => {}
  const main: Core['main'] = {
    get wire() {
      return wire
    },
    ready: () =>
      new Promise((resolve) => {
        back = resolve
      }),
    drop: () => {},
    hurry: () => {},
    close: () => Promise.resolve(),
  }
  const publish = createPublish(coreOf(server.settings, { main, records: nothingKnown }), () => healing)
  const report = publish([order('a')], never)
  wire = await dial(server)
  healing = new Promise((resolve) => {
    healed = () => {
      healing = null
      resolve()
    }
  })
  back(true)
  await wire.ping()
  expect(published(server)).toEqual([])
  healed()
  expect((await report).failures).toEqual([])
  expect(published(server)).toEqual(['orders/@0'])
})
