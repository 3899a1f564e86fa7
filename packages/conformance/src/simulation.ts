// The simulation from the command line: seeds in, violations out. The last line is "N passed, N failed, N skipped".

import { fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import { realClock } from './clock.ts'
import { type RunResult, runSeed } from './simulation/run.ts'

const usage = `node packages/conformance/dist/simulation.js [--seeds 2000] [--from 1] [--seed N] [--jobs 2]
  --seed N   one seed, with everything that it violates`

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    part: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

interface Totals {
  runs: number
  events: number
  starts: number
  repeats: number
  doubled: number
  failed: RunResult[]
}

async function run(from: number, count: number, step: number): Promise<Totals> {
  const totals: Totals = { runs: 0, events: 0, starts: 0, repeats: 0, doubled: 0, failed: [] }
  for (let seed = from; seed < from + count; seed += step) {
    const result = await runSeed(seed)
    totals.runs++
    totals.events += result.events
    totals.starts += result.starts
    totals.repeats += result.repeats
    if (result.violations.length > 0) totals.failed.push(result)
    // Every hundredth seed runs twice: a run that cannot be repeated proves nothing.
    if (seed % 100 === 0) {
      totals.doubled++
      const again = await runSeed(seed)
      if (again.hash !== result.hash)
        totals.failed.push({ ...again, violations: [`DETERMINISM: seed ${seed} ran differently the second time`] })
    }
  }
  return totals
}

function child(from: number, count: number): Promise<Totals> {
  return new Promise((resolve, reject) => {
    const worker = fork(new URL(import.meta.url), ['--part', '--from', String(from), '--seeds', String(count)], {
      execArgv: process.execArgv,
    })
    let totals: Totals | undefined
    worker.on('message', (message) => {
      totals = message as Totals
    })
    worker.on('exit', (code) => (totals === undefined ? reject(new Error(`a part of the simulation ended with ${code}`)) : resolve(totals)))
  })
}

async function main(): Promise<number> {
  if (values.help) {
    console.log(usage)
    return 0
  }
  if (values.seed !== undefined) {
    const result = await runSeed(Number(values.seed))
    console.log(`seed ${result.seed} (${result.mode}): ${result.events} events, ${result.starts} starts, ${result.repeats} repeats`)
    for (const violation of result.violations) console.log(`  ${violation}`)
    return result.violations.length > 0 ? 1 : 0
  }
  const from = Number(values.from)
  const seeds = Number(values.seeds)
  if (values.part) {
    const totals = await run(from, seeds, 1)
    await new Promise<void>((resolve) => void process.send?.(totals, () => resolve()))
    return 0
  }
  const jobs = Math.max(1, Math.min(Number(values.jobs), seeds))
  const began = realClock.monotonic()
  const share = Math.ceil(seeds / jobs)
  const parts = await Promise.all(
    Array.from({ length: jobs }, (_, index) => child(from + index * share, Math.min(share, seeds - index * share))),
  )
  const seconds = (realClock.monotonic() - began) / 1000
  const failed = parts.flatMap((part) => part.failed)
  const sum = (pick: (part: Totals) => number): number => parts.reduce((total, part) => total + pick(part), 0)
  for (const result of failed.slice(0, 10)) {
    console.log(`seed ${result.seed} (${result.mode}) violates:`)
    for (const violation of result.violations.slice(0, 5)) console.log(`  ${violation}`)
    console.log(`  repeat: node packages/conformance/dist/simulation.js --seed ${result.seed}`)
  }
  if (failed.length > 10) console.log(`and ${failed.length - 10} more seeds`)
  const runs = sum((part) => part.runs)
  console.log(
    `simulation: ${runs} seeds from ${from}, ${sum((part) => part.events)} events, ${sum((part) => part.starts)} handler starts, ${sum((part) => part.repeats)} repeats after faults, ${sum((part) => part.doubled)} seeds run twice alike; ${(runs / seconds).toFixed(1)} seeds/s`,
  )
  const bad = new Set(failed.map((result) => result.seed)).size
  console.log(`${runs - bad} passed, ${bad} failed, 0 skipped`)
  return bad > 0 ? 1 : 0
}

process.exitCode = await main()
