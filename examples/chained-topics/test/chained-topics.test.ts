import { type Ended, runOn, start } from '@posthorn/example-order-notification/program'
import { expect, it } from 'vitest'

const program = new URL('../src/chained-topics.ts', import.meta.url)
const args = ['--purchases', '1000']

function expectAllLetters({ code, shown }: Ended): void {
  expect(shown).toMatch(/purchases 1000 \(40 tried again\) {2}▶ {2}totals 1000 {2}▶ {2}letters (\d+)/)
  expect(shown).toMatch(/computed from the file: \d+ letters\. lost 0, wrong 0, twice 0/)
  expect(code).toBe(0)
}

it('writes exactly the letters that follow from the purchases, on the embedded broker', { timeout: 60_000 }, async () => {
  expectAllLetters(await start(program, args, { POSTHORN_BROKER: 'memory:chain' }).ended)
})

it('writes exactly the letters that follow from the purchases, on Redis', { timeout: 120_000 }, async ({ skip }) => {
  expectAllLetters(await runOn('redis', skip, program, args))
})
