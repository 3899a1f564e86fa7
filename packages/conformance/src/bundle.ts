// A harness in TypeScript, for a Node that does not read it: made one module beside it, once per run. A loader in each of the
// hundreds of processes that the suite starts would cost more than what they do.

import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'

/** What is used of esbuild, which comes with the loader that the harness's package has installed. */
interface Bundler {
  build(options: {
    readonly entryPoints: readonly string[]
    readonly outfile: string
    readonly bundle: boolean
    readonly format: 'esm'
    readonly platform: 'node'
    readonly target: string
    readonly packages: 'external'
    readonly external: readonly string[]
    readonly logLevel: 'silent'
  }): Promise<unknown>
}

/** Writes the module and answers its path. It is gone when this process ends; paths relative to the harness stay true in it. */
export async function bundled(file: string): Promise<string> {
  const loader = createRequire(file).resolve('tsx')
  const bundler = createRequire(loader)('esbuild') as Bundler
  const outfile = join(dirname(file), `.${basename(file, '.ts')}-${process.pid}.mjs`)
  process.on('exit', () => rmSync(outfile, { force: true }))
  await bundler.build({
    entryPoints: [file],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // What needs no translation is loaded from where it is.
    packages: 'external',
    external: ['*.mjs', '*.js'],
    logLevel: 'silent',
  })
  return outfile
}
