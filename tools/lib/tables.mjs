// The tables of README and docs that come from the code. A page asks for one with two comments, and the text between them is ours:
//
//   <!-- generated:capabilities -->            what each adapter gives at best
//   <!-- generated:capabilities profiles -->   what the embedded broker gives in each of its profiles
//   <!-- generated:capabilities redis -->      what one adapter gives at best, beside the embedded broker's default
//   <!-- generated:native redis RedisOptions -->  an options type of an adapter
//   <!-- generated:options ConsumeOptions -->  an options type of a core entry point: name, type, default, meaning
//   <!-- generated:error-codes -->             the codes of MessagingError
//   <!-- generated:choosing -->                what a need means on each broker
//   <!-- generated:measured -->                what the benchmark measured on real servers, as docs/performance.md has it
//   <!-- /generated -->                          its end (`/generated:NAME` is the same)
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { namesOf, program } from './api.mjs'
import { decisions, measured } from './choosing.mjs'
import { ts } from './source.mjs'
import { filesBelow, members } from './workspace.mjs'

const cell = (text) => text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim()
const row = (cells) => `| ${cells.map(cell).join(' | ')} |`
const table = (head, rows) => [row(head), `|${'---|'.repeat(head.length)}`, ...rows.map(row)].join('\n')

/** The file where each adapter says what it gives at best; memory's is inside core. */
function manifests(base) {
  const adapters = members(base).filter(({ folder }) => folder.startsWith('packages/adapter-'))
  const all = [
    { name: 'memory', file: 'packages/core/src/memory/capabilities.ts' },
    ...adapters.map(({ folder }) => ({ name: folder.slice('packages/adapter-'.length), file: `${folder}/src/capabilities.ts` })),
  ]
  return all.filter(({ file }) => existsSync(join(base, file)))
}

function quantity(name, value) {
  if (value === null) return 'no limit'
  if (value === Number.MAX_SAFE_INTEGER || value === Number.POSITIVE_INFINITY) return 'no limit'
  const units = name.endsWith('Ms')
    ? [
        [86_400_000, 'd'],
        [3_600_000, 'h'],
        [60_000, 'min'],
        [1000, 's'],
        [1, 'ms'],
      ]
    : name.endsWith('Bytes')
      ? [
          [1_048_576, 'MiB'],
          [1024, 'KiB'],
          [1, 'B'],
        ]
      : []
  const unit = units.find(([size]) => value >= size && value % size === 0)
  return unit === undefined ? value.toLocaleString('en') : `${(value / unit[0]).toLocaleString('en')} ${unit[1]}`
}

/** `[{ name, best }]`: one column each. */
async function columnsOf(base, what) {
  const { tsImport } = await import('tsx/esm/api')
  const columns = []
  for (const { name, file } of manifests(base)) {
    const module = await tsImport(pathToFileURL(join(base, file)).href, import.meta.url)
    const all = name === 'memory' ? Object.entries(module.profiles) : [[name, module.best ?? module.capabilities]]
    if (what === 'profiles' && name === 'memory') columns.push(...all.map(([profile, best]) => ({ name: profile, best })))
    else if (what === undefined || what === name) columns.push({ name, best: all[0][1] })
  }
  if (columns.length === 0) throw new Error('no adapter says what it gives')
  return columns
}

async function capabilities(base, what) {
  const columns = await columnsOf(base, what)
  const { limits, ...words } = columns[0].best
  const rows = Object.keys(words).map((key) => [key, ...columns.map(({ best }) => best[key])])
  const numbers = Object.keys(limits).map((key) => [
    `limits.${key}`,
    ...columns.map(({ best }) => quantity(key === 'messageBytes' ? 'Bytes' : key, best.limits[key])),
  ])
  return table(['capability', ...columns.map(({ name }) => name)], [...rows, ...numbers])
}

/** All names of a package's entry points, with the compiler that knows them. */
function namesIn(base, name) {
  const compiled = program(base)
  const names = new Map()
  for (const { source, member } of compiled.entries) {
    if (member.manifest.name !== name) continue
    for (const found of namesOf({ ...compiled, base, source }) ?? []) names.set(found.name, found.target)
  }
  return { checker: compiled.program.getTypeChecker(), names }
}

const defaultOf = (symbol) =>
  symbol
    .getJsDocTags()
    .find((tag) => tag.name === 'default')
    ?.text?.map(({ text }) => text)
    .join('') ?? ''

function options(base, name, from = '@posthorn/core') {
  const { checker, names } = namesIn(base, from)
  const symbol = names.get(name)
  if (symbol === undefined) throw new Error(`${from} exports no type ${name}`)
  const rows = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)).map((property) => {
    const [declaration] = property.declarations ?? []
    const written = declaration?.type?.getText().replace(/ \| undefined$/, '') ?? checker.typeToString(checker.getTypeOfSymbol(property))
    const meaning = ts.displayPartsToString(property.getDocumentationComment(checker))
    const optional = (property.flags & ts.SymbolFlags.Optional) !== 0
    const standard = defaultOf(property)
    return [`\`${property.name}\``, `\`${written}\``, standard === '' ? (optional ? '' : 'required') : `\`${standard}\``, meaning]
  })
  return table(['option', 'type', 'default', 'what it does'], rows)
}

/** The members of a union of strings as written, each with the comment above it. */
function unionMembers(checker, symbol) {
  const node = symbol.declarations?.find(ts.isTypeAliasDeclaration)?.type
  if (node !== undefined && ts.isTypeReferenceNode(node)) {
    const target = checker.getSymbolAtLocation(node.typeName)
    return unionMembers(checker, target.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(target) : target)
  }
  if (node === undefined || !ts.isUnionTypeNode(node)) throw new Error(`${symbol.name} is not a union`)
  const text = node.getSourceFile().text
  return node.types.map((type) => {
    const comments = ts.getLeadingCommentRanges(text, type.getFullStart()) ?? []
    const comment = comments.map(({ pos, end }) => text.slice(pos, end)).join(' ')
    return { value: type.literal.text, comment: comment.replace(/^\/\*\*?|\*\/$|^\s*\*|\/\//gm, '').trim() }
  })
}

function errorCodes(base) {
  const { checker, names } = namesIn(base, '@posthorn/core')
  const symbol = names.get('ErrorCode')
  if (symbol === undefined) throw new Error('core exports no type ErrorCode')
  const rows = unionMembers(checker, symbol).map(({ value, comment }) => [`[\`${value}\`](${'#'}${value.toLowerCase()})`, comment])
  return rows.some(([, comment]) => comment !== '') ? table(['code', 'meaning'], rows) : rows.map(([link]) => `- ${link}`).join('\n')
}

/** `ADAPTER TYPE` */
function native(base, what) {
  const [adapter, name] = what.split(' ')
  return options(base, name, `@posthorn/${adapter}`)
}

async function choosing(base) {
  const { head, rows } = decisions(await columnsOf(base, undefined))
  return table(head, rows)
}

const makers = { capabilities, options, native, choosing, measured, 'error-codes': errorCodes }
const marker = /<!-- generated:(\S+)(?: (\S.*?))? -->\n[\s\S]*?(<!-- \/generated(?::[^>]*)? -->)/g

/** Every page below `base` that has a marker: `{ file, before, after }`. Throws for a marker that names nothing. */
export async function generate(base) {
  const pages = []
  for (const file of filesBelow(base, '.', (path) => path.endsWith('.md'))) {
    const before = readFileSync(join(base, file), 'utf8')
    let after = before
    for (const [whole, name, argument, closing] of before.matchAll(marker)) {
      const maker = makers[name]
      if (maker === undefined) throw new Error(`${file}: no table is named ${name}`)
      const text = await maker(base, argument)
      const opening = whole.slice(0, whole.indexOf('\n'))
      after = after.replace(whole, () => `${opening}\n\n${text}\n\n${closing}`)
    }
    if (before.match(marker) !== null) pages.push({ file, before, after })
  }
  return pages
}
