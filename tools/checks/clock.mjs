// Time, timers and randomness come from the context, so that a simulation can run the library under a virtual clock. The real ones
// are named in one file per package, `clock.ts`.
import { basename } from 'node:path'
import { packageSources, parse, problemAt, ts, walk } from '../lib/source.mjs'

const members = new Map([
  ['Date', ['now']],
  ['performance', ['now', 'timeOrigin']],
  ['process', ['hrtime', 'uptime']],
  ['Math', ['random']],
  ['AbortSignal', ['timeout']],
  ['crypto', ['randomUUID', 'getRandomValues']],
])
const names = new Set(['setTimeout', 'setInterval', 'setImmediate', 'performance', 'hrtime', 'randomUUID', 'randomBytes', 'randomInt'])
const modules = new Set(['node:timers', 'node:timers/promises', 'timers', 'timers/promises', 'node:perf_hooks', 'perf_hooks'])

function forbidden(node) {
  if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
    const { expression, name } = node
    if (members.get(expression.text)?.includes(name.text)) return `${expression.text}.${name.text}`
    if (expression.text === 'globalThis' && (names.has(name.text) || members.has(name.text))) return `globalThis.${name.text}`
  }
  if (ts.isNewExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'Date' && !node.arguments?.length)
    return 'new Date()'
  if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) {
    if (node.expression.text === 'Date') return 'Date()'
    if (names.has(node.expression.text)) return node.expression.text
  }
  if (ts.isImportSpecifier(node) && names.has((node.propertyName ?? node.name).text)) return (node.propertyName ?? node.name).text
  if (ts.isImportDeclaration(node) && modules.has(node.moduleSpecifier.text)) return node.moduleSpecifier.text
  // Passed on as a value: `const later = setTimeout`.
  if (ts.isIdentifier(node) && names.has(node.text) && isValue(node)) return node.text
  return undefined
}

function isValue(node) {
  const { parent } = node
  if (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)) return parent.initializer === node
  return ts.isShorthandPropertyAssignment(parent)
}

export function check(base) {
  const files = packageSources(base).filter((file) => basename(file) !== 'clock.ts')
  const problems = []
  for (const file of files) {
    const tree = parse(base, file)
    walk(tree, (node) => {
      const name = forbidden(node)
      if (name !== undefined) problems.push(problemAt(tree, node, `${name}: take time and randomness from the context's clock and random`))
    })
  }
  return { examined: files.length, problems }
}
