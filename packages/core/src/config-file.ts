import { readdir, readFile } from 'node:fs/promises'
import { dirname, extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { invalid } from './check.ts'
import { textOf } from './errors.ts'

/** A configuration file that was found. */
export interface ConfigFile {
  readonly path: string
  readonly kind: 'module' | 'json' | 'typescript'
}

const kinds: ReadonlyMap<string, ConfigFile['kind']> = new Map([
  ['posthorn.config.js', 'module'],
  ['posthorn.config.mjs', 'module'],
  ['posthorn.config.json', 'json'],
  ['posthorn.config.ts', 'typescript'],
])

/**
 * The nearest configuration file upwards from a folder; undefined where there is none.
 *
 * @throws MessagingError `INVALID_ARGUMENT` where one folder has two: which one is meant cannot be known
 */
export async function findConfigFile(from: string): Promise<ConfigFile | undefined> {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const names = await readdir(folder).catch(() => [] as string[])
    const found = names.filter((name) => kinds.has(name)).sort()
    if (found.length > 1) throw invalid('cannot load the configuration', `${folder} has ${found.join(' and ')}. keep one of them`)
    const [name] = found
    if (name !== undefined) return { path: join(folder, name), kind: kinds.get(name) ?? 'module' }
    if (dirname(folder) === folder) return undefined
  }
}

/**
 * A configuration file that is named, whatever its name.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for an ending that says nothing
 */
export function configFileAt(path: string): ConfigFile {
  const kind = kinds.get(`posthorn.config${extname(path)}`)
  if (kind === undefined) throw invalid(`cannot use ${path}`, 'a configuration file ends with .js, .mjs, .json or .ts')
  return { path, kind }
}

/**
 * What the file holds, unchecked. Texts of parsers are not passed on where they quote the file, which may hold credentials.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the file
 */
export async function readConfigFile(file: ConfigFile): Promise<unknown> {
  const attempted = `cannot read ${file.path}`
  if (file.kind === 'json') return parseJson(await readText(file.path, attempted), attempted)
  let loaded: { readonly default?: unknown }
  try {
    loaded = (await import(pathToFileURL(file.path).href)) as { readonly default?: unknown }
  } catch (error) {
    if (file.kind === 'typescript' && (error as { code?: unknown } | null)?.code === 'ERR_UNKNOWN_FILE_EXTENSION') {
      throw invalid(
        attempted,
        `this Node.js (${process.version}) does not read TypeScript. run it with tsx or a newer Node.js, or name the file posthorn.config.mjs`,
      )
    }
    throw invalid(attempted, `running it failed: ${textOf(error, 400)}`)
  }
  const { default: exported } = loaded
  if (exported === undefined) throw invalid(attempted, 'it has no default export. write export default { brokers: { … } }')
  return exported
}

/** Is the text written out in the file? What a module reads from somewhere else is not. */
export async function standsIn(file: ConfigFile, text: string): Promise<boolean> {
  if (file.kind === 'json') return true
  const source = await readText(file.path, `cannot read ${file.path}`)
  // With what stands around it, so that a word of the file that happens to be somebody's password is none.
  return [`:${text}@`, `'${text}'`, `"${text}"`, `\`${text}\``].some((written) => source.includes(written))
}

async function readText(path: string, attempted: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw invalid(attempted, textOf(error, 400))
  }
}

function parseJson(text: string, attempted: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''))
  } catch (error) {
    const position = /position (\d+)/.exec(textOf(error))?.[1]
    const line = position === undefined ? undefined : text.slice(0, Number(position)).split('\n').length
    throw invalid(attempted, line === undefined ? 'it is not valid JSON' : `it is not valid JSON, at line ${line}`)
  }
}
