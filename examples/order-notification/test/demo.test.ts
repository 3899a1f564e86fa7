import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import type { Report } from '../src/demo/report.ts'

const script = fileURLToPath(new URL('../src/demo.ts', import.meta.url))
const tsx = pathToFileURL(createRequire(new URL('../../../package.json', import.meta.url)).resolve('tsx')).href

// Any free port, and an embedded broker for each process, whatever this machine has set.
const env: NodeJS.ProcessEnv = { ...process.env, PORT: '0', POSTHORN_BROKER: 'memory:' }

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}
/** Runs a program of this folder from its sources; `whenShown` sees what it has printed so far and may end it. */
function run(
  file: string,
  args: readonly string[],
  whenShown: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => undefined,
) {
  return new Promise<Ended>((resolve, reject) => {
    const child = spawn(process.execPath, ['--conditions=@posthorn/source', '--import', tsx, file, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
      whenShown(out + err, (signal) => child.kill(signal))
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
      whenShown(out + err, (signal) => child.kill(signal))
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}

describe('the demo', () => {
  it('replays 200 orders and reports that every figure is what it must be', { timeout: 60_000 }, async () => {
    const { code, out, err } = await run(script, ['--orders', '200', '--json'])
    expect(err).toBe('')
    const report = JSON.parse(out) as Report
    expect(report).toMatchObject({ ok: true, orders: 200, messages: 1200 })
    expect(report.checks.filter(({ ok }) => !ok)).toEqual([])
    const figures = Object.fromEntries(report.services.map(({ service, must: _, wrong: __, ...figures }) => [service, figures]))
    const fine = { lost: 0, twice: 0, unknown: 0 }
    expect(figures).toEqual({
      order: { handled: 200, ...fine },
      email: { handled: 200, retried: 4, dead: 1, replayed: 1, outOfOrder: 0, ...fine },
      push: { handled: 200, retried: 5, dead: 1, replayed: 1, outOfOrder: 0, ...fine },
      audit: { handled: 600, outOfOrder: 0, ...fine },
      inventory: { handled: 200, outOfOrder: 0, ...fine },
    })
    expect(code).toBe(0)
  })

  it('shows a table for people, and leaves the services running with --keep until it is told to stop', { timeout: 60_000 }, async () => {
    const keeping = { told: false }
    let mails: Promise<unknown> | undefined
    const { code, out } = await run(script, ['--orders', '5', '--keep'], (text, kill) => {
      const page = /mails +(http\S+)/.exec(text)?.[1]
      if (page === undefined || keeping.told || !text.includes('curl')) return
      keeping.told = true
      mails = fetch(`${page}mails.json`)
        .then((response) => response.json())
        .finally(() => kill('SIGTERM'))
    })
    expect(out).toMatch(/email +5 +0 +0 +0 +0 +0 +0 {2}✓/)
    expect(out).toContain('Every figure is exactly what it must be')
    expect(await mails).toHaveLength(5)
    expect(code).toBe(0)
  })

  it('refuses options and brokers that it does not have', { timeout: 60_000 }, async () => {
    const [unknown, elsewhere, help] = await Promise.all([
      run(script, ['--oders', '5']),
      run(script, ['--broker', 'nats://u:secret@h']),
      run(script, ['--help']),
    ])
    expect(unknown).toMatchObject({ code: 2, out: '', err: expect.stringContaining('Did you mean --orders?') })
    expect(elsewhere).toMatchObject({ code: 2, out: '', err: expect.stringContaining('does not know "nats"') })
    expect(elsewhere.err).not.toContain('secret')
    expect(help).toMatchObject({ code: 0, err: '', out: expect.stringContaining('--orders N') })
  })
})

it('each service starts on its own and ends when it is told to', { timeout: 60_000 }, async () => {
  for (const name of ['order', 'email', 'push', 'audit', 'inventory']) {
    const started = name === 'order' ? 'order service: POST http' : `${name} service: waiting for`
    const file = fileURLToPath(new URL(`../src/${name}-service.ts`, import.meta.url))
    const { code, out, err } = await run(file, [], (text, kill) => {
      if (text.includes(started)) kill('SIGTERM')
    })
    expect(out + err).toContain(started)
    expect(code).toBe(0)
  }
})
