import { type Ended, runOn, start } from '@posthorn/example-order-notification/program'
import { expect, it } from 'vitest'

const program = new URL('../src/replay.ts', import.meta.url)
const args = ['--sales', '1000']

function expectReplayed({ code, shown }: Ended): void {
  expect(shown).toMatch(/^1000 sales are booked/m)
  expect(shown).toContain('a new service reads them again, 1000 of 1000')
  expect(shown).toMatch(/1997-01 +\$\d+\.\d\d {2}✓/)
  expect(shown).not.toContain('must be')
  expect(shown).toContain('another one that starts at noon sees 500 of the 500 sales of the afternoon, and none of the morning')
  expect(code).toBe(0)
}

it('gives a service that comes later all that was sent before, on the embedded broker', { timeout: 60_000 }, async () => {
  expectReplayed(await start(program, args, { POSTHORN_BROKER: 'memory:replay' }).ended)
})

it('gives a service that comes later all that was sent before, on Kafka', { timeout: 120_000 }, async ({ skip }) => {
  expectReplayed(await runOn('kafka', skip, program, args))
})

it('says so where a server keeps no log', { timeout: 120_000 }, async ({ skip }) => {
  const { code, shown } = await runOn('redis', skip, program, ['--sales', '20'])
  expect(shown).toContain('redis keeps no log, so a new service starts with what is sent from then on')
  expect(shown).toContain('npm run replay -- --broker kafka')
  expect(code).toBe(3)
})
