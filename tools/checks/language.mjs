// What the language offers and this repository does not use.
import { basename } from 'node:path'
import { parse, problemAt, ts, typescriptFiles, walk } from '../lib/source.mjs'

const vague = new Set(['utils.ts', 'util.ts', 'common.ts', 'types.ts', 'helpers.ts', 'misc.ts'])
const marks = new Set(['skip', 'only', 'todo', 'fails'])
const runners = new Set(['it', 'test', 'describe', 'suite', 'bench'])

/** Config files are read by their tool, harness modules by the suite's command: both look at the default export. */
const mayExportDefault = (file) => /(\.config|harness)\.m?ts$/.test(file)

/** `it.only`, `describe.concurrent.skip`: the name at the far left. */
function leftmost(node) {
  return ts.isPropertyAccessExpression(node) || ts.isCallExpression(node)
    ? leftmost(node.expression)
    : ts.isIdentifier(node)
      ? node.text
      : ''
}

function complain(node, file) {
  const inSource = /^packages\/[^/]+\/src\//.test(file)
  if (node.kind === ts.SyntaxKind.AnyKeyword) return '`any`: say `unknown` and narrow it'
  if (ts.isEnumDeclaration(node)) return '`enum`: write a union of strings'
  if (ts.isModuleDeclaration(node) && !node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DeclareKeyword))
    return '`namespace`: a module is one'
  if (ts.isExportDeclaration(node) && node.exportClause === undefined) return '`export *`: list the names'
  const isDefault = ts.isExportAssignment(node) || node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword)
  if (isDefault && !mayExportDefault(file)) return 'default export: export a name'
  if (inSource && ts.isHeritageClause(node) && ts.isClassLike(node.parent) && node.token === ts.SyntaxKind.ExtendsKeyword) {
    return node.types[0]?.expression.getText() === 'Error' ? undefined : 'inheritance: wrap a function instead'
  }
  // The suite itself skips what a manifest says, in its sources.
  if (!inSource && ts.isPropertyAccessExpression(node) && marks.has(node.name.text) && runners.has(leftmost(node.expression))) {
    return `\`.${node.name.text}\`: a test runs or does not exist`
  }
  return undefined
}

function comments(tree, file) {
  const forbidden = file.endsWith('.test-d.ts') ? /@ts-(ignore|nocheck)/ : /@ts-(ignore|nocheck|expect-error)/
  return tree.text.split('\n').flatMap((text, index) => {
    const found = forbidden.exec(text)
    return found === null ? [] : [{ file, line: index + 1, text: `${found[0]}: give it the right type` }]
  })
}

export function check(base) {
  const files = typescriptFiles(base)
  const problems = []
  for (const file of files) {
    if (vague.has(basename(file)))
      problems.push({ file, line: 1, text: 'the name says nothing: a thing lives beside the function that owns it' })
    const tree = parse(base, file)
    problems.push(...comments(tree, file))
    walk(tree, (node) => {
      const text = complain(node, file)
      if (text !== undefined) problems.push(problemAt(tree, node, text))
    })
  }
  return { examined: files.length, problems }
}
