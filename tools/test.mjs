// `npm test`: set-up, then every check and test that this machine can run. The last line is "N passed, N failed, N skipped" and
// the exit code 1 if anything failed. What each step printed is kept in `reports`.
import { parseArgs } from 'node:util'
import { sentence, sum } from './lib/counts.mjs'
import { runSteps } from './lib/scheduler.mjs'
import { install } from './setup.mjs'

const usage = `npm test -- [STEP ...] [--strict] [--list]

  STEP      run only the steps with this name or with this word in their name ("core", "suite", "types:core")
  --strict  a real server that is missing is a failure, not a skip (also POSTHORN_STRICT=1 and CI=true)
  --list    print the names of the steps
`

function parse() {
  try {
    const options = { strict: { type: 'boolean' }, list: { type: 'boolean' }, help: { type: 'boolean' } }
    return parseArgs({ allowPositionals: true, options })
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${usage}`)
    process.exit(2)
  }
}

const { values, positionals } = parse()
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}
await install()
const { steps } = await import('./steps.mjs')
if (values.list) {
  process.stdout.write(`${steps.map((step) => step.name).join('\n')}\n`)
  process.exit(0)
}
const matches = (step, word) => step.name === word || step.name.split(':').includes(word)
const unknown = positionals.filter((word) => !steps.some((step) => matches(step, word)))
if (unknown.length > 0) {
  process.stderr.write(`no step is named ${unknown.join(', ')}; npm test -- --list names them\n`)
  process.exit(2)
}
const inPlain = steps.filter((step) => step.named !== true)
const asked = positionals.length === 0 ? inPlain : steps.filter((step) => positionals.some((word) => matches(step, word)))
// What a chosen step comes after is run as well.
const wanted = steps.filter((step) => asked.includes(step) || asked.some((other) => other.after?.includes(step.name)))
const strict = values.strict === true || process.env.POSTHORN_STRICT === '1' || process.env.CI === 'true'
// Tests that look for a server themselves take its absence for a failure too.
if (strict) process.env.POSTHORN_STRICT = '1'

const width = Math.max(...wanted.map((step) => step.name.length))
function report(step, result) {
  const mark = result.failed > 0 ? 'FAIL' : result.passed === 0 ? 'skip' : 'ok  '
  const note = result.note === undefined ? '' : `  (${result.note})`
  process.stdout.write(`${mark}  ${step.name.padEnd(width)}  ${`${result.seconds.toFixed(1)} s`.padStart(7)}  ${sentence(result)}${note}\n`)
  const lines = result.output.trimEnd().split('\n')
  const shown = result.failed > 0 ? lines.slice(-60) : lines.slice(0, -1).slice(step.show === undefined ? lines.length : -step.show)
  for (const line of shown) if (line !== '') process.stdout.write(`      ${line}\n`)
  if (result.failed > 0 && lines.length > 60) process.stdout.write(`      (all ${lines.length} lines: ${result.log})\n`)
}

/** Finds the real servers that the steps need, before any of them runs; what has to be fetched is fetched now. */
async function findServers(needing) {
  const names = [...new Set(needing.flatMap(({ server }) => server ?? []))]
  const [servers, missing] = [new Set(), new Map()]
  if (names.length === 0) return { servers, missing }
  const { findBroker } = await import('./brokers/index.mjs')
  for (const name of names) {
    const found = await findBroker(name)
    if (found.available) servers.add(name)
    else missing.set(name, found.reason.replace(/\n\s*-?\s*/g, '; ').replace(':;', ':'))
    process.stdout.write(`server  ${name}: ${found.available ? `${found.title} (${found.source})` : 'not here'}\n`)
  }
  return { servers, missing }
}

const left = positionals.length === 0 ? steps.filter((step) => step.named === true) : []
if (left.length > 0) process.stdout.write(`not run unless named: ${left.map(({ name }) => name).join(', ')}\n`)
const started = performance.now()
const { servers, missing } = await findServers(wanted)
const results = await runSteps(wanted, { strict, servers, missing, report })
const total = sum(results.values())
const failed = wanted.filter((step) => results.get(step.name).failed > 0).map((step) => step.name)
const seconds = ((performance.now() - started) / 1000).toFixed(0)
process.stdout.write(
  `\n${wanted.length} ${wanted.length === 1 ? 'step' : 'steps'} in ${seconds} s${strict ? ', strict' : ''}${failed.length > 0 ? `; failed: ${failed.join(', ')}` : ''}\n`,
)
process.stdout.write(`${sentence(total)}\n`)
process.exitCode = total.failed > 0 || failed.length > 0 ? 1 : 0
