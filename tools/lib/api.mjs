// The public names of an entry point, as the compiler sees them.
import { join } from 'node:path'
import { ts } from './source.mjs'
import { entryPoints, members, root } from './workspace.mjs'

const options = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  customConditions: ['@posthorn/source'],
  allowImportingTsExtensions: true,
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  types: ['node'],
  typeRoots: [join(root, 'node_modules', '@types')],
}

function isTypeOnly(symbol) {
  return symbol.declarations?.some((node) => ts.isExportSpecifier(node) && (node.isTypeOnly || node.parent.parent.isTypeOnly)) ?? false
}

function kindOf(symbol, target) {
  const { flags } = target
  if (isTypeOnly(symbol)) return 'type'
  if (flags & ts.SymbolFlags.Class) return 'class'
  if (flags & ts.SymbolFlags.Function) return 'function'
  if (flags & ts.SymbolFlags.Variable) return 'const'
  if (flags & ts.SymbolFlags.Enum) return 'enum'
  if (flags & ts.SymbolFlags.ValueModule) return 'namespace'
  return 'type'
}

/** One program over all entry points of all packages below `base`. */
export function program(base) {
  const entries = members(base).flatMap((member) => entryPoints(member).map((entry) => ({ ...entry, member })))
  return { entries, program: ts.createProgram({ rootNames: entries.map(({ source }) => join(base, source)), options }) }
}

/** Every exported name of one entry point, sorted: `{ name, kind, documented, target }`. null: the file does not exist. */
export function namesOf({ program: compiled, base, source }) {
  const file = compiled.getSourceFile(join(base, source))
  if (file === undefined) return null
  const checker = compiled.getTypeChecker()
  const module = checker.getSymbolAtLocation(file)
  if (module === undefined) return []
  return checker
    .getExportsOfModule(module)
    .map((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      const documented = [symbol, target].some((one) => one.getDocumentationComment(checker).length > 0)
      return { name: symbol.name, kind: kindOf(symbol, target), documented, target }
    })
    .sort((a, b) => (lineOf(a) < lineOf(b) ? -1 : 1))
}

/** The file that lists the names of an entry point: `packages/core/api/adapter.txt` for `./adapter` of core. */
export function listFile({ folder }, entry) {
  return `${folder}/api/${entry === '.' ? 'index' : entry.slice(2).replaceAll('/', '-')}.txt`
}

const lineOf = ({ kind, name }) => `${kind} ${name}\n`

export function listText(names) {
  return names.map(lineOf).join('')
}
