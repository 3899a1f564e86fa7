// `npm run check [-- NAME ...]`: the rules of this repository that a program can check. Without names, all but the slow one (`docs`).
// Each is a file in tools/checks with `check(root)`, which returns how many things it examined and the problems it found.
import { sentence } from './lib/counts.mjs'
import { root } from './lib/workspace.mjs'
import { install } from './setup.mjs'

await install()
const { checks } = await import('./checks/index.mjs')
const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !Object.hasOwn(checks, name))
if (unknown.length > 0) {
  process.stderr.write(`no check is named ${unknown.join(', ')}; there are ${Object.keys(checks).join(', ')}\n`)
  process.exit(2)
}
const total = { passed: 0, failed: 0, skipped: 0 }
for (const name of asked.length > 0 ? asked : Object.keys(checks).filter((one) => one !== 'docs')) {
  const { examined, problems } = await checks[name](root)
  process.stdout.write(`${problems.length === 0 ? 'ok  ' : 'FAIL'}  ${name} (${examined} examined)\n`)
  for (const { file, line, text } of problems) process.stdout.write(`      ${file}:${line}: ${text}\n`)
  total[problems.length === 0 ? 'passed' : 'failed'] += 1
}
process.stdout.write(`${sentence(total)}\n`)
process.exitCode = total.failed > 0 ? 1 : 0
