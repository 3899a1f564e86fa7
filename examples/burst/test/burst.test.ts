import { type Ended, runOn, start } from '@posthorn/example-order-notification/program'
import { expect, it } from 'vitest'

const program = new URL('../src/burst.ts', import.meta.url)
const args = ['--orders', '500']

function expectBuffered({ code, shown }: Ended): void {
  expect(shown).toMatch(/all 500 were accepted after +\d+\.\d s, and charged after +\d+\.\d s/)
  expect(shown).toMatch(/charged twice 0, out of order 0, most calls within a second \d+$/m)
  // The burst waits on the broker: this process never holds more than four windows of sixteen.
  const [waiting, here] = [/waiting (\d+)/g, /in this process (\d+)/g].map((figure) =>
    Math.max(...[...shown.matchAll(figure)].map(([, count]) => Number(count))),
  )
  expect(waiting).toBeGreaterThan(100)
  expect(here).toBeLessThanOrEqual(64)
  expect(code).toBe(0)
}

it('takes a burst at once and charges it at the pace of the provider, on the embedded broker', { timeout: 60_000 }, async () => {
  expectBuffered(await start(program, args, { POSTHORN_BROKER: 'memory:burst' }).ended)
})

it('takes a burst at once and charges it at the pace of the provider, on Redis', { timeout: 120_000 }, async ({ skip }) => {
  expectBuffered(await runOn('redis', skip, program, args))
})

it('leaves nothing halfway when it is told to stop in the middle', { timeout: 60_000 }, async () => {
  const running = start(program, ['--orders', '2000'], { POSTHORN_BROKER: 'memory:burst' })
  await running.until('it is in the middle', (shown) => /charged [1-9]/.test(shown))
  const { code, shown } = await running.end('SIGINT')
  expect(shown).toMatch(/stopped: \d+ of \d+ accepted orders are charged, none halfway/)
  expect(code).toBe(0)
})
