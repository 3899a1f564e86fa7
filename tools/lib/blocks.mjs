// Code in documentation: found, written out as files of a small project (`docs/.blocks`), compiled by the options of
// `docs/tsconfig.blocks.json`, and run. A page is a folder there, so that its blocks can import each other.
//
//   ```ts            compiled as a module of its own
//   ```ts run        compiled and run; it must end with code 0, and a following ```text output block must be what it prints
//   // topics.ts     as the first line of a block: this block is that file of its page, which others import as './topics.ts'
//   <!-- continues -->        above a block: it goes on where the previous block of the page ended
//   <!-- preamble: NAME -->   above a block: docs/preambles/NAME.ts comes before it, unseen by the reader
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { ts } from './source.mjs'
import { root } from './workspace.mjs'

/** The fenced blocks of a page: `{ language, words, line, text, above }`; `above` is the comment on the line before, or ''. */
export function fences(text) {
  const found = []
  let open = null
  let above = ''
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^( *)(`{3,})\s*(\S*)\s*(.*)$/.exec(line)
    if (open === null && fence !== null) {
      open = { indent: fence[1], mark: fence[2], language: fence[3], words: fence[4].split(/\s+/), line: index + 2, lines: [], above }
    } else if (open !== null && line.trim() === open.mark) {
      const { lines, indent, mark, ...block } = open
      found.push({ ...block, text: lines.map((one) => one.slice(indent.length)).join('\n'), end: index })
      open = null
      above = ''
    } else if (open !== null) open.lines.push(line)
    else if (line.trim() !== '') above = line.trim()
  }
  return found
}

/** The ts blocks of a page as files to compile: `{ file, header, text, page, line, run, output }`. */
export function pageBlocks(base, page) {
  const all = fences(readFileSync(join(base, page), 'utf8'))
  const folder = `docs/.blocks/${page.replace(/\.md$/, '').replaceAll('/', '_')}`
  const blocks = []
  for (const [index, block] of all.entries()) {
    if (block.language !== 'ts') continue
    const preamble = /^<!-- preamble: ([\w-]+) -->$/.exec(block.above)?.[1]
    const before = blocks.at(-1)
    let header = preamble === undefined ? '' : readFileSync(join(base, 'docs', 'preambles', `${preamble}.ts`), 'utf8')
    if (/^<!-- continues -->$/.test(block.above) && before !== undefined) header = `${before.header}${before.text}\n`
    const name = /^\/\/ ([\w.-]+\.m?ts)\b/.exec(block.text)?.[1] ?? `block-${blocks.length + 1}.ts`
    const next = all[index + 1]
    const output = next?.language === 'text' && next.words.includes('output') ? next.text : undefined
    blocks.push({ file: `${folder}/${name}`, header, text: block.text, page, line: block.line, run: block.words.includes('run'), output })
  }
  return blocks
}

/** The `@example`s of a source file, each in a scope of its own behind the preamble `examples`, or behind its own imports. */
export function exampleBlocks(base, file) {
  const tree = ts.createSourceFile(file, readFileSync(join(base, file), 'utf8'), ts.ScriptTarget.Latest, true)
  const preambleFile = join(base, 'docs', 'preambles', 'examples.ts')
  const preamble = existsSync(preambleFile) ? readFileSync(preambleFile, 'utf8') : ''
  const found = []
  const seen = new Set()
  const visit = (node) => {
    for (const tag of ts.getJSDocTags(node)) {
      if (tag.tagName.text !== 'example' || seen.has(tag.pos)) continue
      seen.add(tag.pos)
      const lines = (ts.getTextOfJSDocComment(tag.comment) ?? '').split('\n').filter((line) => !line.trim().startsWith('```'))
      const line = tree.getLineAndCharacterOfPosition(tag.getStart(tree)).line + 2
      const imports = lines.filter((one) => one.startsWith('import '))
      const text = lines.map((one) => (one.startsWith('import ') ? '' : one.replace(/^export (?!\{)/, ''))).join('\n')
      const name = `${basename(dirname(dirname(file)))}_${basename(file, '.ts')}-${found.length + 1}.ts`
      const header = `${imports.length > 0 ? imports.join('\n') : preamble}\n;{\n`
      found.push({ file: `docs/.blocks/examples/${name}`, header, text, footer: '\n}', page: file, line })
    }
    ts.forEachChild(node, visit)
  }
  visit(tree)
  return found
}

/** Writes the blocks out, replacing what was there. */
export function writeBlocks(base, blocks) {
  rmSync(join(base, 'docs', '.blocks'), { recursive: true, force: true })
  for (const { file, header, text, footer = '' } of blocks) {
    mkdirSync(dirname(join(base, file)), { recursive: true })
    writeFileSync(join(base, file), `${header}${text}${footer}\nexport {}\n`)
  }
}

/** What the compiler says about written blocks, at the line of the page where the reader sees it. */
export function compileBlocks(base, blocks) {
  const config = join(root, 'docs', 'tsconfig.blocks.json')
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(config, ts.sys.readFile).config, ts.sys, dirname(config))
  const rootNames = blocks.map(({ file }) => join(base, file))
  const program = ts.createProgram({ rootNames, options: { ...options, typeRoots: [join(root, 'node_modules', '@types')] } })
  return blocks.flatMap((block) => {
    const source = program.getSourceFile(join(base, block.file))
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
    const hidden = block.header.split('\n').length - 1
    return found.map(({ messageText, start }) => {
      const shown = source.getLineAndCharacterOfPosition(start ?? 0).line - hidden
      const place = shown < 0 ? ' (in what comes before the block)' : ''
      return {
        file: block.page,
        line: block.line + Math.max(0, shown),
        text: `${ts.flattenDiagnosticMessageText(messageText, ' ')}${place}`,
      }
    })
  })
}
