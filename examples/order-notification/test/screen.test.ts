import { describe, expect, it } from 'vitest'
import { paintFor } from '../src/demo/paint.ts'
import { makeReport, renderReport } from '../src/demo/report.ts'
import { createScreen } from '../src/demo/screen.ts'

function collector(isTTY: boolean) {
  const written: string[] = []
  const write = (text: string | Uint8Array) => written.push(String(text)) > 0
  return { isTTY, columns: 80, write, text: () => written.join('') }
}
const progress = () => ({ done: 0.5, orders: 10, of: 20, services: [{ name: 'email', state: 'running' as const, figures: '  7 mails' }] })

describe('the screen', () => {
  it('paints the services and a bar below what was said, on a terminal', () => {
    const stream = collector(true)
    const screen = createScreen(stream)
    screen.show(progress)
    screen.say('email service started')
    screen.end()
    expect(stream.text()).toMatch(/█.*░/)
    expect(stream.text()).toContain('7 mails')
    expect(stream.text().split('\u001b[3A\u001b[J')).toHaveLength(3)
  })

  it('writes plain lines, and nothing else, where there is no terminal', () => {
    const stream = collector(false)
    const screen = createScreen(stream)
    screen.show(progress)
    screen.say('email service started')
    screen.end()
    expect(stream.text()).toMatch(/^ +\d+\.\d s {2}· email service started\n$/)
  })

  it('has colours only on a terminal, and none with NO_COLOR', () => {
    expect(paintFor({ isTTY: true }, {}).red('x')).toBe('\u001b[31mx\u001b[39m')
    expect(paintFor({ isTTY: true }, { NO_COLOR: '1' }).red('x')).toBe('x')
    expect(paintFor({ isTTY: true }, { TERM: 'dumb' }).red('x')).toBe('x')
    expect(paintFor({ isTTY: false }, {}).red('x')).toBe('x')
  })
})

describe('the report', () => {
  const must = { handled: 20, lost: 0, twice: 0, unknown: 0 }
  const input = { broker: 'embedded (memory:demo)', orders: 20, customers: 10, seconds: 2, checks: [{ what: 'it is so', ok: true }] }
  const plain = paintFor({ isTTY: false })

  it('says that every figure is right', () => {
    const report = makeReport({ ...input, services: [{ service: 'email', ...must, must, wrong: [] }] })
    expect(report).toMatchObject({ ok: true, ordersPerSecond: 10, messages: 20 })
    expect(renderReport(report, plain)).toContain('Every figure is exactly what it must be')
  })

  it('says which figure is wrong and what it must be', () => {
    const report = makeReport({
      ...input,
      services: [{ service: 'email', ...must, handled: 19, lost: 1, must, wrong: ['handled', 'lost'] }],
    })
    expect(report.ok).toBe(false)
    expect(renderReport(report, plain)).toContain('✗ email: handled is 19, must be 20\n  ✗ email: lost is 1, must be 0')
  })

  it('is not right when one of the other things is not so', () => {
    const report = makeReport({ ...input, services: [], checks: [{ what: 'it is so', ok: false }] })
    expect(report.ok).toBe(false)
    expect(renderReport(report, plain)).toContain('✗ it is so')
  })
})
