import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The folder of the application's package.json: the nearest one upwards from `from`; `from` itself where there is none. */
export function applicationFolder(from: string): string {
  let folder = from
  for (;;) {
    if (manifestOf(folder) !== undefined) return folder
    const parent = dirname(folder)
    if (parent === folder) return from
    folder = parent
  }
}

/** Where the process runs; '/' where that folder is gone. */
export function currentFolder(): string {
  try {
    return process.cwd()
  } catch {
    return '/'
  }
}

/** The name in the application's package.json, else 'posthorn'. */
export function applicationName(): string {
  const name = manifestOf(applicationFolder(currentFolder()))?.name
  return typeof name === 'string' && name !== '' ? name : 'posthorn'
}

function manifestOf(folder: string): { readonly name?: unknown } | undefined {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined
  } catch {
    return undefined
  }
}
