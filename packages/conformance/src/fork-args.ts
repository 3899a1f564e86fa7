// How processes of the suite are started: with the loader that this one runs with, and from source with one that reads TypeScript.

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** Does this process read TypeScript, and will those that it starts with the same arguments? */
export function readsTypeScript(): boolean {
  return process.execArgv.some((arg, index, all) => {
    const loaded = arg.startsWith('--import=') ? arg.slice('--import='.length) : all[index - 1] === '--import' ? arg : ''
    return /(?:^|\/)tsx(?:\/dist\/|\/?$)/.test(loaded)
  })
}

/** Arguments for `fork`, whose program lies beside the caller's. */
export function forkArgs(caller: string): readonly string[] {
  if (!caller.endsWith('.ts') || readsTypeScript()) return process.execArgv.filter((arg) => !arg.startsWith('--inspect'))
  return ['--conditions=@posthorn/source', '--import', pathToFileURL(createRequire(caller).resolve('tsx')).href]
}
